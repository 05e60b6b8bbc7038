// SPDX-License-Identifier: Apache-2.0
/** Entries of one layer whose content is needed after it has passed. A layer can have millions. */
#pragma once

#include "keyed.hh"

namespace berth::squash {

class Wanted {
public:
  explicit Wanted(Chunks &chunks) : entries_(chunks) {}

  bool empty() const { return left_ == 0; }
  /** The inode that the content of entry `ordinal` fills; NONE: it is not wanted. */
  uint32_t find(uint64_t ordinal) const {
    const uint32_t at = entries_.find(ordinal);
    return at == NONE ? NONE : entries_[at].inode;
  }
  /** An entry that is not wanted yet. */
  void add(uint64_t ordinal, uint32_t inode) {
    entries_.add({ordinal, inode});
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
    /** The entry's number in its layer. They are dense, so their own best hash. */
    uint64_t key;
    uint32_t inode;
  };
  Keyed<Entry> entries_;
  size_t left_ = 0;
};

} // namespace berth::squash
