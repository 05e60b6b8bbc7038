// SPDX-License-Identifier: Apache-2.0
/**
 * Decodes deflate data (RFC 1951), and tells what no library tells: the matches that it consists of. Who
 * compressed the layer had to look for them; who compresses its files again need not (match_carrier.hh).
 */
#pragma once

#include <array>

#include "../result.hh"
#include "bits.hh"
#include "deflate_table.hh"
#include "pieces.hh"

namespace berth::squash {

class Deflate {
public:
  void restart();
  /**
   * Decodes from `in` to the end of `piece`; true at the end of the data. Otherwise the piece is full, or
   * `in` has nothing more. The piece of the last step still has its bytes. EBADMSG with a message.
   */
  Result<bool> step(BitReader &in, Piece &piece);

private:
  static constexpr size_t MATCH_MAX = 258;
  /** What a round of quickly() may read, five loads of 8 bytes with the one before it, and what it may write:
   * literals, a match, and what is copied too far. */
  static constexpr size_t ROUND_READS = 40, COPY_SIZE = 16, ROUND_WRITES = MATCH_MAX + 2 * COPY_SIZE + 4;
  /** Long enough for nearly all codes, small enough for the first-level cache. */
  static constexpr unsigned LITERAL_BITS = 11, DISTANCE_BITS = 9, LENGTH_BITS = 7;
  static constexpr size_t LITERALS_MAX = 286, DISTANCES_MAX = 30;

  enum class State : uint8_t { header, stored, lengthsOfLengths, lengths, symbols, match, ended };
  enum class Step : uint8_t { on, input, output, damaged };

  Step advance(BitReader &in);
  Step header(BitReader &in);
  Step stored(BitReader &in);
  Step lengthsOfLengths(BitReader &in);
  Step lengths(BitReader &in);
  Step makeTables();
  Step symbols(BitReader &in);
  Step symbol(BitReader &in);
  Step match();
  Step quickly(BitReader &in);
  Step rounds(BitReader &in);
#if defined(__x86_64__)
  Step roundsBmi2(BitReader &in);
#endif
  static void copy(uint8_t *to, size_t size, size_t distance);
  Step damage(const char *what);

  DeflateTable literals_{LITERAL_BITS}, distances_{DISTANCE_BITS}, lengthCodes_{LENGTH_BITS};
  State state_ = State::header;
  bool last_ = false;
  /** The tables are those of 3.2.6. */
  bool fixed_ = false;
  const char *damage_ = nullptr;
  /** Lengths of codes so far, of those announced. */
  std::array<uint8_t, LITERALS_MAX + DISTANCES_MAX> lengths_;
  size_t read_ = 0, lengthCodeCount_ = 0, literalCount_ = 0, distanceCount_ = 0;
  /** Of a stored block, or of a match that reached the end of `out`. */
  size_t left_ = 0, distance_ = 0;

  const uint8_t *base_ = nullptr, *first_ = nullptr;
  uint8_t *out_ = nullptr, *end_ = nullptr;
  /** Bytes in front of out_ that belong to the data, as far as a match may look. */
  size_t behind_ = 0;
  Matches *matches_ = nullptr;
};

} // namespace berth::squash
