// SPDX-License-Identifier: Apache-2.0
/** All of an image behind its data: inodes, directories, fragments, export table, owners, xattrs, superblock.
 */
#pragma once

#include "attributes.hh"
#include "block_line.hh"
#include "listing.hh"
#include "tree.hh"

namespace berth::squash {

class Tables {
public:
  struct Parts {
    Tree &tree;
    const Owners &owners;
    const Xattrs &xattrs;
    const BlockLine &line;
    Output &output;
    Codec &codec;
    Chunks &chunks;
    Compressor compressor;
    uint32_t blockSize;
    bool hasOptions;
    /** Each distinct owner keeps its number, so that the id table alone decides who that is. */
    bool ownersToRoot;
  };

  explicit Tables(Parts parts)
      : parts_(parts), inodes_(parts.codec, parts.chunks), directories_(parts.codec, parts.chunks),
        exports_(parts.chunks) {}

  /** Writes them all; the file is complete then. Answers its size in bytes. */
  Result<uint64_t> write();

private:
  /** A directory on the way down, its children a part of `children_`. */
  struct Frame {
    uint32_t node;
    size_t first, next, end;
  };

  // tables.cc
  Result<> writeTables();
  Result<> writeFragments();
  Result<> writeXattrs();
  Result<uint64_t> writeSuper();

  // tables_tree.cc
  void findLive();
  Frame enter(uint32_t node, bool fresh);
  void number(const Frame &frame);
  Result<> walk(bool write);
  Result<> writeDirectory(const Frame &frame);

  // tables_inode.cc
  void writeInode(Inode &inode);
  void writeDirInode(Inode &inode, uint32_t parent, const Listing &listing);
  void writeFile(Inode &inode);
  void header(Bytes &record, const Inode &inode, bool extended) const;
  void place(Inode &inode, const Bytes &record);

  Parts parts_;
  MetadataTable inodes_, directories_;
  std::vector<bool> live_;
  std::vector<uint32_t> children_;
  Arena<uint8_t> exports_;
  uint32_t count_ = 0, newest_ = 0;
  uint64_t inodeStart_ = 0, directoryStart_ = 0, fragmentStart_ = NO_TABLE, exportStart_ = 0, idStart_ = 0,
           xattrStart_ = NO_TABLE;
};

/** Calls `block(sizeWord)` for each block of a stored file in order, 0 for a hole. */
template <typename Visit> void eachBlock(const BlockLine &line, const StoredFile &file, Visit visit) {
  for (uint32_t i = 0; i < file.words; i++) {
    const uint32_t word = line.words()[file.firstWord + i];
    if ((word & HOLE_RUN) == 0)
      visit(word);
    else
      for (uint32_t holes = word & ~HOLE_RUN; holes > 0; holes--)
        visit(0u);
  }
}

} // namespace berth::squash
