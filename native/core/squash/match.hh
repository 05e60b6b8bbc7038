// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace berth::squash {

/** `size` bytes from `at` on are those that stand `distance` bytes in front of them. */
struct Match {
  uint32_t at;
  uint16_t size;
  uint16_t distance;
};

/** The matches of one buffer, in order, none overlapping another. */
class Matches {
public:
  /**
   * A match costs zstd about as many bits as four literals, more the farther it looks back. The bounds are
   * those with which layers of gzip -6 become as small as zstd -1 makes them (0029).
   */
  static constexpr size_t SIZE_MIN = 5, NEAR = 8192;
  static constexpr bool worth(size_t size, size_t distance) {
    return size > SIZE_MIN || (size == SIZE_MIN && distance <= NEAR);
  }

  Matches() = default;
  /** Of a buffer of `size` bytes. One place more: where add() would write next. */
  explicit Matches(size_t size) : items_(new Match[size / SIZE_MIN + 1]) {}

  void clear() { count_ = 0; }
  /** Drops what begins at `at` or behind it. */
  void cut(size_t at) {
    while (count_ > 0 && items_[count_ - 1].at >= at)
      count_--;
  }
  void add(Match match) {
    if (worth(match.size, match.distance))
      items_[count_++] = match;
  }
  /** Where the next ones belong, for a loop that keeps the place in a register; setEnd() says where it ended.
   */
  Match *end() { return items_.get() + count_; }
  void setEnd(const Match *end) { count_ = size_t(end - items_.get()); }
  std::span<const Match> all() const { return {items_.get(), count_}; }

private:
  std::unique_ptr<Match[]> items_;
  size_t count_ = 0;
};

/** Says what is known of bytes that pass. */
class MatchSource {
public:
  struct Known {
    /** From the first that ends behind the bytes' begin, in their source's numbers: there it is at `begin`.
     */
    std::span<const Match> matches;
    size_t begin = 0;
    /** Of that begin in all that passed: matches look back from there, across contents. */
    uint64_t position = 0;
  };
  virtual ~MatchSource() = default;
  virtual Known matches(std::span<const uint8_t> bytes) const = 0;
};

} // namespace berth::squash
