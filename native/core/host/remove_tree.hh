// SPDX-License-Identifier: Apache-2.0
/** Removes a directory with all that is in it, in pieces, though users may write there meanwhile. */
#pragma once

#include "open_tree.hh"

namespace berth {

/**
 * The directory above `path` is root's; what is below belongs to anybody. Deep trees need no more descriptors
 * than kRemovedDepthMax: what is deeper is moved up to the top first. Work that was begun and not ended may
 * be begun again.
 */
class TreeRemoval {
public:
  explicit TreeRemoval(std::string path) : path_(std::move(path)) {}

  /** True: all of it is gone, or was not there. False: there is more to do. */
  Result<bool> work();

private:
  Result<bool> begin();
  Result<> removeNext();
  Result<> removeDirectory(const std::string &name);
  Result<> moveUp(const std::string &name);
  Result<> leave();
  /** Somebody writes: bounded, for they may go on for ever. */
  Result<> missed(OpenDirectory &directory, const char *syscall, const std::string &path);

  std::string path_;
  /** Of the directory above. */
  Fd parent_;
  OpenDirectories open_;
  unsigned missed_ = 0;
  uint64_t moved_ = 0;
};

} // namespace berth
