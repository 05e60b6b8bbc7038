// SPDX-License-Identifier: Apache-2.0
/** Numbers of the squashfs 4.0 disk format (kernel: Documentation/filesystems/squashfs.rst). All integers
 * little endian. */
#pragma once

#include <cstddef>
#include <cstdint>

namespace berth::unsquash {

inline constexpr uint32_t kMagic = 0x73717368; // "hsqs"
inline constexpr size_t kSuperSize = 96;
/** Uncompressed size of a metadata block. */
inline constexpr uint32_t kMetaSize = 8192;
inline constexpr uint16_t kMetaStored = 0x8000;
/** Bit 24 of a data block's size word: stored uncompressed. */
inline constexpr uint32_t kDataStored = 1U << 24;
inline constexpr uint32_t kDataSizeMask = kDataStored - 1;
inline constexpr uint64_t kNoTable = ~uint64_t{0};
inline constexpr uint32_t kNone = ~uint32_t{0};
inline constexpr uint16_t kFlagOptions = 0x0400;
inline constexpr uint16_t kFlagNoFragments = 0x0010;
/** All flags that 4.0 defines but bit 2, a "check data" of old formats. */
inline constexpr uint16_t kFlagsKnown = 0x0ffb;
/** A run of directory entries that share a header. */
inline constexpr uint32_t kRunMax = 256;
/** NAME_MAX: the format allows 256, the VFS does not. */
inline constexpr uint32_t kNameMax = 255;
/** PATH_MAX less its NUL: what symlink(2) accepts. */
inline constexpr uint32_t kTargetMax = 4095;

enum class Compressor : uint16_t { gzip = 1, lzma = 2, lzo = 3, xz = 4, lz4 = 5, zstd = 6 };

/** Basic inode types; extended ones are 7 more. */
enum class Type : uint8_t { directory = 1, file, symlink, block, character, fifo, socket };
inline constexpr uint16_t kExtended = 7;

inline uint16_t le16(const uint8_t *p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
inline uint32_t le32(const uint8_t *p) { return le16(p) | static_cast<uint32_t>(le16(p + 2)) << 16; }
inline uint64_t le64(const uint8_t *p) { return le32(p) | static_cast<uint64_t>(le32(p + 4)) << 32; }

} // namespace berth::unsquash
