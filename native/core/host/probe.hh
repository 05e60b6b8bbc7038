// SPDX-License-Identifier: Apache-2.0
/** Which devices a step may open, asked from inside its cgroup. */
#pragma once

#include "core/result.hh"

#include <string>
#include <sys/types.h>
#include <vector>

namespace berth {

/**
 * errno of access(2) for reading and writing each path, 0 where it is allowed, asked by a child process in
 * the device cgroup of `pid`: EPERM says that the cgroup denies the device (the child is root, so that modes
 * never do). access(2) does not call the driver's open, which would wake a GPU. Waits a second at most: a
 * cgroup may be frozen.
 */
Result<std::vector<int>> probeDevices(pid_t pid, const std::vector<std::string> &paths);

} // namespace berth
