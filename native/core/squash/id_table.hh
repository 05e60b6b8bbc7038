// SPDX-License-Identifier: Apache-2.0
/**
 * Open-addressing set of record numbers: the records live in a vector of their owner, the table costs 4 bytes
 * a slot. Entries are millions in the worst image, node-based maps would treble their memory.
 */
#pragma once

#include <cstdint>
#include <vector>

#include "format.hh"

namespace berth::squash {

class IdTable {
public:
  /** The number for which `equal(number)` holds among those added with this hash, else NONE. */
  template <typename Equal> uint32_t find(uint64_t hash, Equal equal) const {
    if (slots_.empty())
      return NONE;
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask; slots_[i] != NONE; i = (i + 1) & mask)
      if (equal(slots_[i]))
        return slots_[i];
    return NONE;
  }

  /** `hashOf(number)` is asked for all numbers again when the table grows. */
  template <typename HashOf> void add(uint64_t hash, uint32_t number, HashOf hashOf) {
    if ((used_ + 1) * 4 > slots_.size() * 3)
      grow(hashOf);
    place(hash, number);
    used_++;
  }

  void clear() {
    slots_ = {};
    used_ = 0;
  }

private:
  static constexpr size_t SLOTS_MIN = 64;

  void place(uint64_t hash, uint32_t number) {
    const size_t mask = slots_.size() - 1;
    size_t i = hash & mask;
    while (slots_[i] != NONE)
      i = (i + 1) & mask;
    slots_[i] = number;
  }

  template <typename HashOf> void grow(HashOf hashOf) {
    std::vector<uint32_t> before(slots_.empty() ? SLOTS_MIN : slots_.size() * 2, NONE);
    before.swap(slots_);
    used_ = 0;
    for (const uint32_t number : before)
      if (number != NONE) {
        place(hashOf(number), number);
        used_++;
      }
  }

  std::vector<uint32_t> slots_;
  size_t used_ = 0;
};

} // namespace berth::squash
