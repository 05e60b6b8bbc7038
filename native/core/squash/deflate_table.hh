// SPDX-License-Identifier: Apache-2.0
/** Tables that turn the next bits of deflate data into a symbol, made from the lengths of its codes. */
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace berth::squash {

/**
 * What a table says of the next bits. From the low end: 8 bits, how many bits it takes in all; 4 bits, how
 * many of these are its code, the others being extra bits; flags; 16 bits from 16 on, its value (a byte, the
 * base of a length or distance, or where in the table a code that is longer goes on).
 */
struct Meaning {
  static constexpr uint32_t LITERAL = 1u << 31, SPECIAL = 1u << 15, LONGER = 1u << 14, END = 1u << 13;
  static constexpr unsigned CODE_SHIFT = 8, VALUE_SHIFT = 16;
  static constexpr uint32_t CODE_MASK = 15, VALUE_MASK = 0x7fff;

  uint32_t word = SPECIAL;

  bool literal() const { return (word & LITERAL) != 0; }
  /** No byte and no length: a longer code, the end of the block, or nothing that may be. */
  bool special() const { return (word & SPECIAL) != 0; }
  bool longer() const { return (word & LONGER) != 0; }
  bool end() const { return (word & END) != 0; }
  unsigned size() const { return uint8_t(word); }
  unsigned code() const { return word >> CODE_SHIFT & CODE_MASK; }
  uint32_t value() const { return word >> VALUE_SHIFT & VALUE_MASK; }
  /** Base and extra bits, of the bits that this meaning was looked up with. */
  uint32_t number(uint64_t bits) const {
    return value() + uint32_t((bits & ((uint64_t{1} << size()) - 1)) >> code());
  }
};

/** `alphabet`: each symbol's meaning without its code. */
using Alphabet = std::span<const Meaning>;
Alphabet literalsAndLengths();
Alphabet distances();
Alphabet codeLengths();

class DeflateTable {
public:
  static constexpr unsigned CODE_MAX = 15, SYMBOLS_MAX = 288;

  /** Codes up to `bits` long are found at once, others in a second step. */
  explicit DeflateTable(unsigned bits) : bits_(bits) {}

  /**
   * False when the lengths describe no code: more codes than fit, or fewer, except for one single code of one
   * bit and for none (RFC 1951, 3.2.7).
   */
  bool make(std::span<const uint8_t> lengths, Alphabet alphabet);

  const Meaning *entries() const { return entries_.data(); }
  uint32_t mask() const { return (1u << bits_) - 1; }
  Meaning look(uint64_t bits) const { return entries_[bits & mask()]; }
  /** After dropping the bits of a longer() meaning. */
  Meaning lookOn(Meaning longer, uint64_t bits) const {
    return entries_[longer.value() + (bits & ((1u << longer.code()) - 1))];
  }

private:
  using Counts = std::array<uint32_t, CODE_MAX + 1>;

  void makeLonger(const uint16_t *next, uint32_t code, const Counts &counts, Alphabet alphabet);

  unsigned bits_;
  std::vector<Meaning> entries_;
};

} // namespace berth::squash
