// SPDX-License-Identifier: Apache-2.0
/** What a process says its environment is. */
#pragma once

#include "core/result.hh"

#include <functional>
#include <string>
#include <sys/types.h>

namespace berth {

/**
 * Reads /proc/PID/environ on a thread of its own and calls `done` there; E2BIG beyond `bytesMax`. The kernel
 * wants the lock of the process' memory for it, which a process with a FUSE server of its own can keep for as
 * long as it lives: neither the loop nor a thread of the pool may wait for that.
 */
Result<> readEnvironment(pid_t pid, size_t bytesMax, std::function<void(Result<std::string>)> done);

} // namespace berth
