// SPDX-License-Identifier: Apache-2.0
/** Numbers of the squashfs 4.0 disk format that the writer uses (kernel: fs/squashfs/squashfs_fs.h); little
 * endian. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace berth::squash {

using Bytes = std::vector<uint8_t>;

inline constexpr uint32_t SUPER_MAGIC = 0x73717368;
inline constexpr uint32_t SUPER_SIZE = 96;
inline constexpr uint32_t METADATA_SIZE = 8192;
/** Bit 15 of a metadata block's header: stored as it is. */
inline constexpr uint16_t METADATA_RAW = 0x8000;
/** Bit 24 of a data block's size word: stored as it is. */
inline constexpr uint32_t BLOCK_RAW = 1u << 24;
inline constexpr uint32_t NONE = 0xffffffff;
inline constexpr uint64_t NO_TABLE = ~uint64_t{0};
/** mksquashfs pads to this so that a loop device shows the last bytes whatever its sector size. */
inline constexpr uint32_t IMAGE_ALIGN = 4096;

/** Basic inode types; the extended ones (with xattrs, large files) are 7 more. */
enum class Type : uint8_t {
  none = 0,
  dir = 1,
  file = 2,
  symlink = 3,
  block = 4,
  character = 5,
  fifo = 6,
  socket = 7
};
inline constexpr uint16_t EXTENDED = 7;

enum SuperFlag : uint16_t {
  FLAG_RAW_INODES = 0x0001,
  FLAG_RAW_DATA = 0x0002,
  FLAG_RAW_FRAGMENTS = 0x0008,
  FLAG_DUPLICATES = 0x0040,
  FLAG_EXPORTABLE = 0x0080,
  FLAG_NO_XATTRS = 0x0200,
  FLAG_OPTIONS = 0x0400,
};

/** Appends little-endian fields to a byte vector. */
class Fields {
public:
  explicit Fields(Bytes &out) : out_(out) {}
  Fields &u8(uint8_t value) { return put(value, 1); }
  Fields &u16(uint64_t value) { return put(value, 2); }
  Fields &u32(uint64_t value) { return put(value, 4); }
  Fields &u64(uint64_t value) { return put(value, 8); }
  Fields &bytes(const void *data, size_t size) {
    const auto *from = static_cast<const uint8_t *>(data);
    out_.insert(out_.end(), from, from + size);
    return *this;
  }

private:
  Fields &put(uint64_t value, int size) {
    for (int i = 0; i < size; i++)
      out_.push_back(uint8_t(value >> (8 * i)));
    return *this;
  }

  Bytes &out_;
};

} // namespace berth::squash
