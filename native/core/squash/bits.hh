// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace berth::squash {

/** Reads a stream that comes in parts bit by bit, the lowest bit of each byte first (RFC 1951, 3.1.1). */
class BitReader {
public:
  /** want() can see to that many. */
  static constexpr unsigned BITS_MAX = 56;

  /** The next part; what is left of it must be asked for before the next. */
  void feed(std::span<const uint8_t> part) {
    at_ = part.data();
    end_ = part.data() + part.size();
  }
  std::span<const uint8_t> rest() const { return {at_, size_t(end_ - at_)}; }
  bool empty() const { return at_ == end_ && count_ == 0; }

  /** Whether `count` bits are there; it takes no more bytes from the part than that needs. */
  bool want(unsigned count) {
    for (; count_ < count; count_ += 8) {
      if (at_ == end_)
        return false;
      bits_ |= uint64_t{*at_++} << count_;
    }
    return true;
  }
  unsigned count() const { return count_; }
  /** Zeros stand for bits that are not there. */
  uint64_t peek() const { return bits_; }
  void drop(unsigned count) {
    bits_ >>= count;
    count_ -= count;
  }
  /** After want(count); up to 32 bits. */
  uint32_t take(unsigned count) {
    const auto value = uint32_t(bits_ & ((uint64_t{1} << count) - 1));
    drop(count);
    return value;
  }
  void align() { drop(count_ % 8); }

  /** For a loop that keeps these in registers: bytes ahead of `count` bits may be in `bits` already. */
  struct Registers {
    const uint8_t *at;
    uint64_t bits;
    unsigned count;

    /** At least BITS_MAX bits, by one load of 8 bytes that must be readable. */
    void refill() {
      uint64_t word;
      std::memcpy(&word, at, sizeof word);
      if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        word = __builtin_bswap64(word);
      bits |= word << count;
      at += (63 - count) >> 3;
      count |= BITS_MAX;
    }
    void drop(unsigned size) {
      bits >>= size;
      count -= size;
    }
  };
  Registers registers() const { return {at_, bits_, count_}; }
  /** Gives whole bytes of the part back that were only looked at. */
  void store(const Registers &state) {
    const auto back = std::min<size_t>(state.count / 8, size_t(state.at - at_));
    at_ = state.at - back;
    count_ = state.count - unsigned(back) * 8;
    bits_ = state.bits & ((uint64_t{1} << count_) - 1);
  }

private:
  const uint8_t *at_ = nullptr, *end_ = nullptr;
  uint64_t bits_ = 0;
  unsigned count_ = 0;
};

} // namespace berth::squash
