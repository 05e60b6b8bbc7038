// SPDX-License-Identifier: Apache-2.0
/**
 * Acting as the user inside a single-threaded child: only for file access (and back), or for good. Raw system
 * calls: the C library's wrappers would signal threads that exist only in the parent.
 */
#pragma once

#include "core/result.hh"

#include <sys/types.h>
#include <vector>

namespace berth {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  /** Supplementary groups. */
  std::vector<gid_t> groups;
};

/**
 * From construction to destruction the process's file access is the user's: fsuid, fsgid and groups; the
 * kernel drops CAP_DAC_* and CAP_FOWNER with a fsuid other than 0 and gives them back after (credentials(7)).
 * CAP_SYS_ADMIN stays.
 */
class FileIdentity {
public:
  explicit FileIdentity(const Identity &identity);
  ~FileIdentity();
  FileIdentity(const FileIdentity &) = delete;
  FileIdentity &operator=(const FileIdentity &) = delete;
  /** 0, or the errno that says why the identity could not be taken; nothing may be opened then. */
  int error() const { return error_; }

private:
  int error_ = 0;
};

/** While a FileIdentity holds: local mode bits and owners do not count, but a file server hears the user's
 * id. */
Result<> raiseFileCapabilities();

/**
 * From here on what the process makes belongs to the user: effective ids and groups are the user's,
 * CAP_SYS_ADMIN alone stays effective, so that unshare(CLONE_NEWUSER) works where sites forbid user
 * namespaces to users. Real and saved uid stay root's: the user could otherwise stop the process (kill(2))
 * and hold up whoever waits for it. Not dumpable afterwards.
 */
Result<> actAsOwner(const Identity &identity);

} // namespace berth
