// SPDX-License-Identifier: Apache-2.0
/** Who answers when a file is read: the kernel, or a program. */
#pragma once

#include "core/result.hh"

#include <sys/types.h>

namespace berth {

enum class FileServer {
  /** Also what mountinfo does not list. */
  kernel,
  /** A FUSE server that root started. */
  root,
  /** One that a user started: it may lie, and it may never answer. */
  user,
};

/**
 * Of the file system with that device number, by a /proc/PID/mountinfo (proc_pid_mountinfo(5)): asks the
 * kernel only, never the server, as statfs(2) would. Takes the descriptor.
 */
FileServer fileServerOf(Fd mountinfo, dev_t device);

} // namespace berth
