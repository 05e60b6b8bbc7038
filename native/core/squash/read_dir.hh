// SPDX-License-Identifier: Apache-2.0
/** Directory listings: runs of entries, each run with a header that its entries share. */
#pragma once

#include "read_inode.hh"

namespace berth::unsquash {

struct Name {
  std::string name;
  uint32_t number = 0;
  Type type = Type::file;
  /** Linear position of the inode. */
  uint64_t inode = 0;
  /** First of its run: such entries may be in the directory's index. */
  bool startsRun = false;
};

/** Reads the listing of one directory in order; refuses names that are not sorted, unique and legal. */
class Listing {
public:
  /** `cursor` is over layout.directories and is moved. */
  Listing(MetaCursor &cursor, const Layout &layout, const Inode &directory);

  /** False after the last entry. */
  bool next(Name &entry);
  /** Offset of the current run's header from the start of the listing. */
  uint64_t runOffset() const { return runOffset_; }

private:
  void readRun();

  MetaCursor &cursor_;
  const Layout &layout_;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
  uint64_t runOffset_ = 0;
  uint32_t left_ = 0;
  uint32_t inodeBlock_ = 0;
  uint32_t number_ = 0;
  std::string last_;
};

/** A record of the index that large directories have behind their inode. */
struct IndexRecord {
  /** Offset of a run's header from the start of the listing. */
  uint32_t offset;
  /** Directory table block that holds it, relative to the table. */
  uint32_t block;
  std::string name;
};

/** Reads the next record at `cursor` (over layout.inodes, at the directory's tail). */
IndexRecord readIndexRecord(MetaCursor &cursor);

} // namespace berth::unsquash
