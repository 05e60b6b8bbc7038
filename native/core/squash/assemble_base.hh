// SPDX-License-Identifier: Apache-2.0
/** The image below as entries of the new one, and which of its compressed blocks stay. */
#pragma once

#include "assemble_upper.hh"
#include "stored_files.hh"

namespace berth::assemble {

class Base {
public:
  Base(const Options &options, unsquash::Image &image, squash::Tree &tree, squash::Owners &owners,
       squash::Xattrs &xattrs, const Upper &upper)
      : options_(options), image_(image), tree_(tree), owners_(owners), xattrs_(xattrs), upper_(upper),
        files_(image, tree, options.bytesMax) {}

  /** Adds what the upper does not hide. */
  Result<> merge();
  /** Contents of what stays. */
  StoredFiles &files() { return files_; }

private:
  struct Level {
    std::string path;
    /** NONE: hidden. */
    uint32_t node;
  };
  struct Merged {
    uint32_t node;
    squash::Inode inode;
  };

  Result<> add(const unsquash::Entry &entry);
  Result<> place(uint32_t node, const unsquash::Inode &inode);
  Result<squash::Inode> convert(const unsquash::Inode &inode);
  Result<uint32_t> xattrs(const unsquash::Inode &inode);
  bool holdsNothing(uint32_t node) const;
  void restoreMetadata();

  const Options &options_;
  unsquash::Image &image_;
  squash::Tree &tree_;
  squash::Owners &owners_;
  squash::Xattrs &xattrs_;
  const Upper &upper_;
  std::vector<Level> levels_;
  /** By inode number of the image: the new inode, and the file. */
  std::vector<uint32_t> inodes_, fileOf_;
  std::map<uint32_t, uint32_t> xattrSets_;
  StoredFiles files_;
  /** Directories of both, with the image's metadata. */
  std::vector<Merged> merged_;
};

} // namespace berth::assemble
