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

/**
 * Becomes the user in all ids. With `keepAdmin` CAP_SYS_ADMIN stays effective, so that unshare(CLONE_NEWUSER)
 * works where sites forbid user namespaces to users, yet the namespace belongs to the user. Not dumpable
 * afterwards.
 */
Result<> becomeUser(const Identity &identity, bool keepAdmin);

} // namespace berth
