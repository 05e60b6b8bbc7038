// SPDX-License-Identifier: Apache-2.0
/** The process that saves a container: a program without rights on the host, yet with all files of one upper.
 */
#pragma once

#include "core/ns/child.hh"

#include <string>
#include <sys/types.h>
#include <vector>

namespace berth {

struct SaverProgram {
  /** The program by its absolute path, and its arguments. */
  std::vector<std::string> argv;
  uid_t uid = 0;
  gid_t gid = 0;
  /** Borrowed; they become 3, 4, … in the program, the first one a socket for its answer. */
  std::vector<int> fds;
  /** Index in fds of the upper directory. */
  size_t upper = 0;
};

/**
 * Starts it as the user in a user namespace in which the user is 0 and all ids of an image are themselves
 * (the one that images are mounted with), so that it reads every file of the upper and sees owners as an
 * image has them. The namespace belongs to root: the user can neither trace the program nor gain anything in
 * it. Behind the last of `fds` comes one more, a file with the paths of all opaque directories, each ended by
 * a NUL: reading trusted.* takes root, so they are listed before rights are given up. A failure on the way is
 * an answer as JSON on fds[0].
 */
Result<Child> startSaver(const SaverProgram &program);

} // namespace berth
