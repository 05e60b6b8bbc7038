// SPDX-License-Identifier: Apache-2.0
/** Names in a directory that a user may write to, made and changed with that user's rights. */
#pragma once

#include "core/host/fd_from_child.hh"
#include "core/ns/identity.hh"

#include <optional>
#include <string>

namespace berth {

struct ChangeRequest {
  enum class Action {
    /** Answers a new file, opened read-write; `name` is its name where files cannot be without (EEXIST when
     * there is one). */
    create,
    /** `name` becomes `other`, whatever was there; when `durable` the directory is fsynced then, where its
     * user may read it. */
    rename,
    remove,
    /** Whether there is a `name`: ENOENT. */
    exists,
    /** Whether files can be made here: EACCES, EROFS. */
    probe,
  };
  Action action = Action::probe;
  /** Open directory, borrowed; O_PATH is enough. */
  int directory = -1;
  /** One component each. */
  std::string name, other;
  /** rename: the file itself where it has no name yet, borrowed. */
  int nameless = -1;
  Identity user;
  /** create: permissions, whatever the umask. */
  mode_t mode = 0600;
  bool durable = true;
};

/** Runs in a forked child that takes the user's file identity; it answers the new file of `create`, else an
 * empty one. */
std::optional<Error> startChange(const ChangeRequest &request, FdFromChild &answer);

} // namespace berth
