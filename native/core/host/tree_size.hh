// SPDX-License-Identifier: Apache-2.0
/** How much of the disk a tree takes, in pieces, though users may write there meanwhile. */
#pragma once

#include "open_tree.hh"

namespace berth {

/** What comes and goes meanwhile, cannot be read, is of another mount or deeper than kSizedDepthMax is not
 * counted. */
class TreeSize {
public:
  explicit TreeSize(std::string path) : path_(std::move(path)) {}

  /** True: all of it is counted. False: there is more to do. */
  Result<bool> work();
  uint64_t bytes() const { return bytes_; }

private:
  void countNext();

  std::string path_;
  bool begun_ = false;
  OpenDirectories open_;
  uint64_t bytes_ = 0;
};

} // namespace berth
