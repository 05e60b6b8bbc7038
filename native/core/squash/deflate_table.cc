// SPDX-License-Identifier: Apache-2.0
#include "deflate_table.hh"

#include <algorithm>
#include <bit>
#include <cstring>

namespace berth::squash {
namespace {

/** RFC 1951, 3.2.5: ranges of lengths and distances, each given by its first value and its extra bits. */
struct Range {
  uint16_t base;
  uint8_t extra;
};
constexpr std::array<Range, 29> LENGTHS{
    {{3, 0},  {4, 0},  {5, 0},  {6, 0},   {7, 0},   {8, 0},   {9, 0},   {10, 0},  {11, 1}, {13, 1},
     {15, 1}, {17, 1}, {19, 2}, {23, 2},  {27, 2},  {31, 2},  {35, 3},  {43, 3},  {51, 3}, {59, 3},
     {67, 4}, {83, 4}, {99, 4}, {115, 4}, {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0}}};
constexpr unsigned DISTANCES = 30, DISTANCE_SYMBOLS = 32, LENGTH_FIRST = 257, END_OF_BLOCK = 256;

constexpr auto LITERALS_AND_LENGTHS = [] {
  std::array<Meaning, DeflateTable::SYMBOLS_MAX> all{};
  for (uint32_t byte = 0; byte < END_OF_BLOCK; byte++)
    all[byte].word = Meaning::LITERAL | byte << Meaning::VALUE_SHIFT;
  all[END_OF_BLOCK].word = Meaning::SPECIAL | Meaning::END;
  for (size_t i = 0; i < LENGTHS.size(); i++)
    all[LENGTH_FIRST + i].word = uint32_t{LENGTHS[i].base} << Meaning::VALUE_SHIFT | LENGTHS[i].extra;
  return all;
}();

constexpr auto DISTANCE_MEANINGS = [] {
  std::array<Meaning, DISTANCE_SYMBOLS> all{};
  uint32_t base = 1;
  for (unsigned i = 0; i < DISTANCES; i++) {
    const uint32_t extra = i < 2 ? 0 : i / 2 - 1;
    all[i].word = base << Meaning::VALUE_SHIFT | extra;
    base += 1u << extra;
  }
  return all;
}();

constexpr auto CODE_LENGTHS = [] {
  std::array<Meaning, 19> all{};
  for (uint32_t i = 0; i < all.size(); i++)
    all[i].word = i << Meaning::VALUE_SHIFT;
  return all;
}();

/** The code that follows, of the same length; codes are reversed, as they stand in the data. */
uint32_t following(uint32_t code, unsigned length) {
  const uint32_t zeros = ~code & ((1u << length) - 1);
  if (zeros == 0)
    return 0;
  const uint32_t bit = std::bit_floor(zeros);
  return (code & (bit - 1)) | bit;
}

Meaning withCode(Meaning symbol, unsigned length) {
  return {symbol.word + length + (uint32_t{length} << Meaning::CODE_SHIFT)};
}

} // namespace

Alphabet literalsAndLengths() { return LITERALS_AND_LENGTHS; }
Alphabet distances() { return DISTANCE_MEANINGS; }
Alphabet codeLengths() { return CODE_LENGTHS; }

bool DeflateTable::make(std::span<const uint8_t> lengths, Alphabet alphabet) {
  Counts counts{};
  for (const uint8_t length : lengths)
    counts[length]++;
  const uint32_t used = uint32_t(lengths.size()) - counts[0];
  counts[0] = 0;
  uint32_t sum = 0;
  Counts place{};
  for (unsigned length = 1; length <= CODE_MAX; length++) {
    place[length] = place[length - 1] + counts[length - 1];
    sum += counts[length] << (CODE_MAX - length);
  }
  constexpr uint32_t FULL = 1u << CODE_MAX;
  if (sum > FULL || (sum < FULL && (used > 1 || (used == 1 && counts[1] == 0))))
    return false;

  std::array<uint16_t, SYMBOLS_MAX> sorted;
  for (size_t symbol = 0; symbol < lengths.size(); symbol++)
    if (lengths[symbol] != 0)
      sorted[place[lengths[symbol]]++] = uint16_t(symbol);
  entries_.resize(size_t{1} << bits_);
  if (sum < FULL)
    std::ranges::fill(entries_, Meaning{});
  const uint16_t *next = sorted.data();
  uint32_t code = 0;
  // The table doubles with each bit: what shorter codes mean, they mean with any bits behind them.
  for (unsigned length = 1; length <= bits_; length++) {
    if (length > 1)
      std::memcpy(&entries_[size_t{1} << (length - 1)], entries_.data(), sizeof(Meaning) << (length - 1));
    for (uint32_t i = 0; i < counts[length]; i++, code = following(code, length))
      entries_[code] = withCode(alphabet[*next++], length);
  }
  makeLonger(next, code, counts, alphabet);
  return true;
}

/** A second table for each beginning of longer codes, as large as the longest of them needs. */
void DeflateTable::makeLonger(const uint16_t *next, uint32_t code, const Counts &counts, Alphabet alphabet) {
  uint32_t prefix = UINT32_MAX;
  size_t start = 0;
  unsigned size = 0;
  for (unsigned length = bits_ + 1; length <= CODE_MAX; length++)
    for (uint32_t left = counts[length]; left > 0; left--, code = following(code, length)) {
      if ((code & mask()) != prefix) {
        prefix = code & mask();
        size = length - bits_;
        // Codes of this length and then of the next ones, until all that can follow is used.
        for (uint32_t codes = left; codes < 1u << size && bits_ + size < CODE_MAX; size++)
          codes = 2 * codes + counts[bits_ + size + 1];
        start = entries_.size();
        entries_.resize(start + (size_t{1} << size));
        entries_[prefix].word = Meaning::SPECIAL | Meaning::LONGER | uint32_t(start) << Meaning::VALUE_SHIFT |
                                size << Meaning::CODE_SHIFT | bits_;
      }
      const Meaning meaning = withCode(alphabet[*next++], length - bits_);
      for (size_t at = code >> bits_; at < size_t{1} << size; at += size_t{1} << (length - bits_))
        entries_[start + at] = meaning;
    }
}

} // namespace berth::squash
