// SPDX-License-Identifier: Apache-2.0
/** Records that are found by a key of their own, which is its own hash; numbered as they came, and never
 * moved. */
#pragma once

#include "chunks.hh"
#include "id_table.hh"

namespace berth::squash {

/** `Entry` has a uint64_t `key`. */
template <typename Entry> class Keyed {
public:
  explicit Keyed(Chunks &chunks) : entries_(chunks) {}

  size_t size() const { return entries_.size(); }
  Entry &operator[](size_t number) { return entries_[number]; }
  const Entry &operator[](size_t number) const { return entries_[number]; }
  /** The number of the record with this key, else NONE. */
  uint32_t find(uint64_t key) const {
    return index_.find(key, [&](uint32_t number) { return entries_[number].key == key; });
  }
  /** One whose key is not there yet; answers its number. */
  uint32_t add(const Entry &entry) {
    const auto added = uint32_t(entries_.size());
    entries_.add(entry);
    index_.add(entry.key, added, [&](uint32_t number) { return entries_[number].key; });
    return added;
  }
  void clear() {
    entries_.clear();
    index_.clear();
  }

private:
  Arena<Entry> entries_;
  IdTable index_;
};

} // namespace berth::squash
