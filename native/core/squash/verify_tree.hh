// SPDX-License-Identifier: Apache-2.0
/**
 * Do inodes and directories make one tree? Every directory has one name in the directory it calls its parent,
 * every other inode as many names as it counts, and all hang below the root.
 */
#pragma once

#include "read_dir.hh"

namespace berth::unsquash {

class Tree {
public:
  Tree(const Source &source, const Layout &layout, const Limits &limits);

  /** Each inode once, in any order. */
  void add(const MetaCursor &at, const Inode &inode);
  /** After all inodes: the export table, then all directories. Answers the number of names. */
  uint64_t check();

private:
  /** Kept small: there is one for each inode of the image. */
  struct Node {
    uint64_t position : 56;
    uint64_t type : 8;
    /** Names that should point here; of a directory, the number of its parent. */
    uint32_t links;
    uint32_t seen;
  };
  struct Directory {
    /** Linear position of the listing; 0 for empty ones. */
    uint64_t listing;
    uint64_t inode;
  };

  void checkExports();
  void checkRoot();
  void checkDirectory(MetaCursor &inodes, MetaCursor &names, const Directory &directory);
  void noteName(const MetaCursor &names, const Inode &directory, const Name &entry);
  void checkLinks();
  void checkDepth();

  const Source &source_;
  const Layout &layout_;
  const Limits &limits_;
  Unpacker unpacker_;
  std::vector<Node> nodes_;
  std::vector<Directory> directories_;
  uint32_t root_ = 0;
  uint64_t names_ = 0;
  uint64_t listingEnd_ = 0;
};

} // namespace berth::unsquash
