// SPDX-License-Identifier: Apache-2.0
/** Entries of one layer whose content is needed after it has passed. A layer can have millions. */
#pragma once

#include "chunks.hh"
#include "id_table.hh"

namespace berth::squash {

class Wanted {
public:
  explicit Wanted(Chunks &chunks) : entries_(chunks) {}

  bool empty() const { return left_ == 0; }
  /** The inode that the content of entry `ordinal` fills; NONE: it is not wanted. */
  uint32_t find(uint64_t ordinal) const {
    const uint32_t at = index_.find(ordinal, [&](uint32_t i) { return entries_[i].ordinal == ordinal; });
    return at == NONE ? NONE : entries_[at].inode;
  }
  /** An entry that is not wanted yet. */
  void add(uint64_t ordinal, uint32_t inode) {
    entries_.add({ordinal, inode});
    // Entry numbers are dense, so they are their own best hash.
    index_.add(ordinal, uint32_t(entries_.size() - 1), [&](uint32_t i) { return entries_[i].ordinal; });
    left_++;
  }
  template <typename Keep> void keep(Keep keep) {
    for (size_t i = 0; i < entries_.size(); i++)
      if (entries_[i].inode != NONE && !keep(entries_[i].inode)) {
        entries_[i].inode = NONE;
        left_--;
      }
  }

private:
  struct Entry {
    uint64_t ordinal;
    uint32_t inode;
  };
  Arena<Entry> entries_;
  IdTable index_;
  size_t left_ = 0;
};

} // namespace berth::squash
