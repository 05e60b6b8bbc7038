// SPDX-License-Identifier: Apache-2.0
#include "empty_image.hh"

#include <cstdint>

namespace berth {

/** Little-endian fields in the order of the kernel's squashfs_fs.h. */
class Fields {
public:
  Fields &u16(uint16_t value) { return put(value, 2); }
  Fields &u32(uint32_t value) { return put(value, 4); }
  Fields &u64(uint64_t value) { return put(value, 8); }
  std::string take() { return std::move(bytes_); }

private:
  Fields &put(uint64_t value, int width) {
    for (int i = 0; i < width; i++)
      bytes_ += static_cast<char>(value >> (8 * i));
    return *this;
  }
  std::string bytes_;
};

std::string emptyImage() {
  constexpr uint64_t kNone = ~0ULL;
  constexpr uint16_t kStored = 0x8000; /* a metadata block that is not compressed */
  constexpr uint16_t kZstd = 6;
  constexpr uint16_t kFlags =
      0x1 | 0x2 | 0x8 | 0x10 | 0x200 | 0x800; /* nothing compressed, no fragments, no xattrs */
  constexpr uint64_t kInodes = 96, kDirectories = kInodes + 2 + 32, kIds = kDirectories + 2 + 4,
                     kEnd = kIds + 8;
  constexpr size_t kDevice = 4096; /* loop devices are made of whole sectors */

  Fields fields;
  fields.u32(0x73717368).u32(1).u32(0).u32(131072).u32(0).u16(kZstd).u16(17).u16(kFlags).u16(1).u16(4).u16(0);
  fields.u64(0).u64(kEnd).u64(kIds).u64(kNone).u64(kInodes).u64(kDirectories).u64(kNone).u64(kNone);
  // Inode table: one basic directory (type 1), mode 0755, first owner and group, size 3 is the format's
  // "empty".
  fields.u16(kStored | 32).u16(1).u16(0755).u16(0).u16(0).u32(0).u32(1).u32(0).u32(2).u16(3).u16(0).u32(2);
  // Ids: one block with id 0, then the index that says where it is.
  fields.u16(kStored | 4).u32(0).u64(kDirectories);
  std::string image = fields.take();
  image.resize(kDevice);
  return image;
}

} // namespace berth
