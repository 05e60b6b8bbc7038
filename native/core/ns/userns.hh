// SPDX-License-Identifier: Apache-2.0
/** User namespaces: the maps of a container's, and the ones that only carry an id map for a mount. */
#pragma once

#include "spec.hh"

#include <memory>

namespace berth {

/** Texts of uid_map and gid_map (user_namespaces(7)). */
struct IdMaps {
  std::string uids;
  std::string gids;
  /** Groups that did not fit: the kernel takes 340 lines (4.15), and less than a page. */
  size_t groupsLeftOut = 0;
};

/** The user's uid and all of the user's groups; remapped, the own group becomes `insideGid` and the rest
 * stay. */
IdMaps containerMaps(const NamespaceSpec &spec);

/** Forbids setgroups(2), then writes both maps of the process whose /proc directory is `proc`. The writer
 * needs CAP_SETUID in its parent. */
Result<> writeMaps(int proc, const IdMaps &maps);

/**
 * A user namespace in which 0 is the user and every other id a number that no site gives out, for
 * MOUNT_ATTR_IDMAP: files of root in an image are the user's, all others somebody's, never a real account's
 * and never invalid (an invalid owner would make copy-up fail with EOVERFLOW). Kept for the last few users.
 */
Result<std::shared_ptr<Fd>> imageIdmap(uid_t uid, gid_t gid);

/** EPERM unless `uid` owns the user namespace `fd` (only its owner may join it from a task). */
Result<> requireOwner(int fd, uid_t uid);

} // namespace berth
