// SPDX-License-Identifier: Apache-2.0
/** Who answers when a file is read: the kernel, or a program. */
#pragma once

#include "core/result.hh"

namespace berth {

enum class FileServer {
  kernel,
  /** A FUSE server that root started. */
  root,
  /** One that a user started: it may lie, and it may never answer. Also where nobody can tell. */
  user,
};

/**
 * Of a file opened by path alone (O_PATH), by a /proc/PID/mountinfo (proc_pid_mountinfo(5)): asks the kernel
 * only (statx(2), STATX_MNT_ID of Linux 5.8), never the server, as statfs(2) would. Takes the descriptor of
 * mountinfo. A mount that is not listed counts as a user's: they take theirs away while it is asked for a
 * name.
 */
FileServer fileServerOf(Fd mountinfo, int file);

} // namespace berth
