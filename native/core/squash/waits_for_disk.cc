// SPDX-License-Identifier: Apache-2.0
#include "waits_for_disk.hh"

#include <cstdint>
#include <sys/vfs.h>

namespace berth::squash {

bool waitsForDisk(int fd, bool durable) {
  /** f_type of statfs(2). */
  constexpr uint32_t EXT4 = 0xef53, XFS = 0x58465342, BTRFS = 0x9123683e, F2FS = 0xf2f52010;
  struct statfs fs;
  if (durable || fstatfs(fd, &fs) < 0)
    return true;
  const auto type = uint32_t(fs.f_type);
  return type != EXT4 && type != XFS && type != BTRFS && type != F2FS;
}

} // namespace berth::squash
