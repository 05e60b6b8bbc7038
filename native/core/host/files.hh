// SPDX-License-Identifier: Apache-2.0
/** Files of the store and of users, as the root worker must handle them. */
#pragma once

#include "core/host/fd_from_child.hh"
#include "core/ns/identity.hh"

#include <memory>
#include <optional>
#include <string>

namespace berth {

struct OpenRequest {
  std::string path;
  /** Where a relative path starts; opened with the user's rights too. */
  std::string cwd;
  Identity user;
  /** Borrowed; -1: the worker's own. */
  int mountNs = -1;
  /** open(2) flags; O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added. */
  int flags = 0;
  /** Bytes; not 0: the answer is a copy in memory, made in the child, of a regular file of at most that size.
   */
  size_t copyMax = 0;
};

/**
 * Opens as the user would, in a forked child that takes the user's file identity and, if given, the job's
 * mount namespace. Magic links (/proc/PID/fd, /proc/PID/root) give ELOOP: they would name the worker's own
 * descriptors. Files of a FUSE server that a user started give EREMOTE: it could leave whoever reads, or only
 * closes, such a descriptor waiting for ever (close(2) asks the server too, and no signal ends that).
 */
std::optional<Error> startOpening(const OpenRequest &request, FdFromChild &opening);

/** Automounters and busy file servers may need seconds. */
constexpr int kOpenWaitMsMax = 30'000;

/**
 * True when only root can have written the file: it and all directories above it belong to root and nobody
 * else may write to them, and no user's FUSE server says so. A file without a name (deleted, O_TMPFILE) is
 * not trusted.
 */
Result<bool> onlyRootWrote(int fd);

struct Temporary {
  Fd fd;
  /** Empty: O_TMPFILE, nothing to clean up. */
  std::string name;
};

/** A new empty file (0600) in `directory`; without a name where the file system can (O_TMPFILE, Linux 3.11).
 */
Result<Temporary> openTemporary(const std::string &directory);

/**
 * fsync, then appears at `path` at once and complete; an existing file stays and that is success; then the
 * directory is fsynced. `name` as from openTemporary.
 */
Result<> publish(int fd, const std::string &path, const std::string &name);

} // namespace berth
