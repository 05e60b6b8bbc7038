// SPDX-License-Identifier: Apache-2.0
/** Bounds on what an image may ask of the reader; each is checked before the memory or time is spent. */
#pragma once

#include <cstdint>

namespace berth::unsquash {

struct Limits {
  /** Inodes, and names in directories. A node costs about 20 bytes of memory while an image is verified. */
  uint64_t entriesMax = 10'000'000;
  /** Bytes of files, holes not counted, hard links once; also the bytes that verification unpacks. */
  uint64_t bytesMax = uint64_t{1} << 40;
  /** Unpacked size of one metadata table: 10 million inodes of 100 bytes are 1 GiB. */
  uint64_t tableBytesMax = uint64_t{4} << 30;
  /** Directories below each other: a path of PATH_MAX bytes has no more. */
  uint16_t depthMax = 2048;
  /** Threads that unpack data; 0 and 1: the caller's own. */
  unsigned threads = 1;
};

} // namespace berth::unsquash
