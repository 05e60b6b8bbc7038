// SPDX-License-Identifier: Apache-2.0
/** The upper directory as entries of the new image: names and metadata first, contents later. */
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "assemble.hh"
#include "attributes.hh"
#include "file_store.hh"
#include "tree.hh"

struct stat;

namespace berth::assemble {

/** Directories of the upper by node, opened one inside the other; links are never followed. */
class UpperDirectories {
public:
  UpperDirectories(int upper, const squash::Tree &tree) : upper_(upper), tree_(tree) {}
  /** Borrowed, until the next call. */
  Result<int> open(uint32_t node);

private:
  struct Level {
    uint32_t node;
    Fd fd;
  };
  int upper_;
  const squash::Tree &tree_;
  std::vector<Level> levels_;
};

class Upper {
public:
  Upper(const Options &options, squash::Tree &tree, squash::Owners &owners, squash::Xattrs &xattrs)
      : options_(options), tree_(tree), owners_(owners), xattrs_(xattrs), directories_(options.upper, tree) {}

  /** Fills the tree; whiteouts become nodes without inode. */
  Result<> scan();
  /** Hands every regular file to the store. */
  Result<> readFiles(squash::FileStore &store);

  bool isOpaque(uint32_t node) const { return opaque_.contains(node); }
  /** A directory that berth made. */
  bool isOwn(uint32_t node) const { return own_.contains(node); }
  /** Made by this object: the base has no part in it. */
  bool has(uint32_t node) const { return node < end_; }
  uint64_t bytes() const { return bytes_; }

private:
  struct Pending {
    uint32_t node, inode;
  };
  Result<> scanDirectory(uint32_t node);
  Result<> addEntry(uint32_t parent, int directory, const std::string &name);
  Result<bool> isUntouched(int directory, const std::string &name, const std::string &path,
                           const struct stat &status);
  Result<uint32_t> addInode(int directory, const std::string &name, const struct stat &status);
  Result<uint16_t> owner(uint32_t id);
  Result<> readXattrs(int fd, const std::string &path, squash::Inode &inode);
  Result<> readFile(const Pending &pending, squash::FileStore &store);

  const Options &options_;
  squash::Tree &tree_;
  squash::Owners &owners_;
  squash::Xattrs &xattrs_;
  UpperDirectories directories_;
  std::map<std::string, std::string> ownPaths_;
  std::set<std::string> opaquePaths_;
  std::set<uint32_t> opaque_, own_;
  /** By inode number: names of one file. */
  std::map<uint64_t, uint32_t> links_;
  std::vector<uint32_t> open_;
  std::vector<Pending> pending_;
  uint32_t end_ = 0;
  uint64_t bytes_ = 0;
};

/** One content from an open file, holes as holes; a file that became shorter is filled up with zeros. */
Result<squash::Placed> storeFile(int fd, uint64_t size, squash::FileStore &store);

} // namespace berth::assemble
