// SPDX-License-Identifier: Apache-2.0
/** The image below as entries of the new one, and which of its compressed blocks stay. */
#pragma once

#include "assemble_upper.hh"
#include "reader.hh"

namespace berth::assemble {

/** Bytes of the image that are copied, and where they come to be. */
struct Run {
  uint64_t from, size, to;
};

class Base {
public:
  Base(const Options &options, unsquash::Image &image, squash::Tree &tree, squash::Owners &owners,
       squash::Xattrs &xattrs, const Upper &upper)
      : options_(options), image_(image), tree_(tree), owners_(owners), xattrs_(xattrs), upper_(upper) {}

  /** Adds what the upper does not hide. */
  Result<> merge();
  /** Decides what is copied, to `start` and on; `adopted` is what the tables then say about it. */
  Result<> plan(uint64_t start, squash::BlockLine::Adopted &adopted, std::vector<Run> &runs);
  /** Hands over what can't be copied: files in fragments with dead neighbours; all of them after no plan().
   */
  Result<> readFiles(squash::FileStore &store);
  /** Ends of files that readFiles() put elsewhere; after the line's finish(). */
  void moveEnds(squash::BlockLine &line) const;

  uint64_t bytes() const { return bytes_; }

private:
  /** A regular file that is not empty; only what the reader needs to find its content again. */
  struct File {
    uint64_t size, start, blocks, tail;
    uint32_t fragment, fragmentOffset;
    /** In the new tree; NONE: hidden. */
    uint32_t inode;
  };
  struct Level {
    std::string path;
    /** NONE: hidden. */
    uint32_t node;
  };
  struct Merged {
    uint32_t node;
    squash::Inode inode;
  };
  struct Moved {
    uint32_t file, fragment, offset;
  };

  Result<> add(const unsquash::Entry &entry);
  Result<> place(uint32_t node, const unsquash::Inode &inode);
  Result<squash::Inode> convert(const unsquash::Inode &inode);
  Result<uint32_t> xattrs(const unsquash::Inode &inode);
  bool holdsNothing(uint32_t node) const;
  void restoreMetadata();
  Result<> planFragments(std::vector<uint32_t> &numbers, std::vector<Run> &runs);
  Result<> planBlocks(const File &file, squash::BlockLine::Adopted &adopted, std::vector<Run> &runs);
  Result<> readFile(const File &file, squash::FileStore &store);
  static unsquash::Inode inodeOf(const File &file);

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
  std::vector<File> files_;
  /** Directories of both, with the image's metadata. */
  std::vector<Merged> merged_;
  std::vector<bool> dead_;
  std::vector<unsquash::Fragment> fragments_;
  std::vector<Moved> moved_;
  bool planned_ = false;
  uint64_t bytes_ = 0;
};

/** Where a byte of the image comes to be; it must be in one of the runs. */
uint64_t placeOf(const std::vector<Run> &runs, uint64_t from);

} // namespace berth::assemble
