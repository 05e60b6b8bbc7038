// SPDX-License-Identifier: Apache-2.0
/** Directories of the root that become mounts of their own: the root's flags, read-only among them, are not
 * theirs. */
#pragma once

#include "target.hh"

#include <set>

namespace berth {

class Apart {
public:
  /**
   * The same files as a mount, with all that is mounted below. Nothing is done for the root itself, for what
   * lies on another file system, which has flags of its own, and above or below what was set apart before:
   * one more mount with all mounts below would double their number for each level of an image's directories.
   */
  Result<> set(const Fd &directory, const std::string &target, const Root &root);

private:
  /** Inodes of the root's file system. */
  std::set<ino_t> directories_, above_;
};

} // namespace berth
