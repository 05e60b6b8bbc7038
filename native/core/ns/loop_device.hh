// SPDX-License-Identifier: Apache-2.0
/** A file as a block device, by two ioctls and without a daemon's help. */
#pragma once

#include "core/result.hh"

#include <cstdint>
#include <string>

namespace berth {

struct LoopFile {
  /** An open regular file; borrowed, the device keeps its own reference. */
  int fd = -1;
  /** For losetup(8) to show. */
  std::string name;
  uint64_t offset = 0;
  bool writable = false;
};

struct LoopDevice {
  Fd fd;
  /** /dev/loopN */
  std::string path;
};

/**
 * The device is freed, and with it the file, when the last descriptor and mount of it are closed. EBUSY from
 * racing processes is retried. Needs root and Linux 5.8 (LOOP_CONFIGURE).
 */
Result<LoopDevice> takeLoop(const LoopFile &file);

} // namespace berth
