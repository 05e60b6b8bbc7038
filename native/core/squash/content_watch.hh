// SPDX-License-Identifier: Apache-2.0
/**
 * Somebody who looks at contents while they are stored, when their bytes are at hand, and marks those that
 * are worth to be read again from the image: all others are never unpacked for it.
 */
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace berth::squash {

class ContentWatch {
public:
  virtual ~ContentWatch() = default;
  /** A content of `size` bytes begins. */
  virtual void begin(uint64_t size) = 0;
  /** In order; what is left out between two calls, and before end(), is a hole. */
  virtual void data(uint64_t position, std::span<const uint8_t> bytes) = 0;
  /** All has passed: whether it is marked. Not called for one that was stored before. */
  virtual bool end() = 0;
};

/** The contents that were watched, by their place in the image, and the marked ones among them. */
class Marks {
public:
  /** More are not kept: then nothing is said of any. */
  static constexpr size_t PLACES_MAX = 100'000;

  void addSmall(uint32_t fragment, uint32_t offset) { add(small(fragment, offset)); }
  void addLarge(uint64_t start) { add(large(start)); }
  /** Fragments below this number, and blocks of files before this byte, hold nothing that was not watched. */
  void settle(uint32_t fragments, uint64_t dataEnd);

  /** False: it was watched and not marked. */
  bool maySmall(uint32_t fragment, uint32_t offset) const {
    return fragment >= fragments_ || has(small(fragment, offset));
  }
  bool mayLarge(uint64_t start) const { return start >= dataEnd_ || has(large(start)); }
  size_t size() const { return places_.size(); }

private:
  static uint64_t small(uint32_t fragment, uint32_t offset) { return uint64_t{fragment} << 32 | offset; }
  /** Positions in a file are below 2^63, fragment numbers below 2^31 (a table of them has 32-bit sizes). */
  static uint64_t large(uint64_t start) { return uint64_t{1} << 63 | start; }
  void add(uint64_t place) {
    if (places_.size() <= PLACES_MAX)
      places_.push_back(place);
  }
  bool has(uint64_t place) const { return std::ranges::binary_search(places_, place); }

  uint32_t fragments_ = 0;
  uint64_t dataEnd_ = 0;
  std::vector<uint64_t> places_;
};

inline void Marks::settle(uint32_t fragments, uint64_t dataEnd) {
  std::ranges::sort(places_);
  if (places_.size() > PLACES_MAX)
    return;
  fragments_ = fragments;
  dataEnd_ = dataEnd;
}

} // namespace berth::squash
