// SPDX-License-Identifier: Apache-2.0
#include "deflate.hh"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace berth::squash {
namespace {

constexpr unsigned HEADER_BITS = 3, STORED_SIZE_BITS = 32, COUNTS_BITS = 14;
/** RFC 1951, 3.2.6. */
constexpr auto FIXED_LITERALS = [] {
  std::array<uint8_t, DeflateTable::SYMBOLS_MAX> lengths{};
  for (size_t i = 0; i < lengths.size(); i++)
    lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  return lengths;
}();
constexpr auto FIXED_DISTANCES = [] {
  std::array<uint8_t, 32> lengths{};
  lengths.fill(5);
  return lengths;
}();

/** 3.2.7: the order in which the lengths of the lengths' codes come. */
constexpr std::array<uint8_t, 19> LENGTHS_ORDER{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                11, 4,  12, 3, 13, 2, 14, 1, 15};

} // namespace

void Deflate::restart() {
  state_ = State::header;
  behind_ = 0;
}

Result<bool> Deflate::step(BitReader &in, Piece &piece) {
  const auto room = piece.room();
  if (room.data() != out_ && behind_ > 0)
    std::memcpy(room.data() - behind_, out_ - behind_, behind_);
  out_ = room.data();
  end_ = out_ + room.size();
  first_ = out_ - behind_;
  base_ = piece.data();
  matches_ = &piece.matches;
  Step done = Step::on;
  while (done == Step::on && state_ != State::ended)
    done = advance(in);
  behind_ = std::min(size_t(out_ - first_), Piece::WINDOW);
  piece.size = size_t(out_ - base_);
  if (done == Step::damaged)
    return fail(EBADMSG, "inflate", {}, std::string("corrupt gzip: ") + damage_);
  return state_ == State::ended;
}

Deflate::Step Deflate::advance(BitReader &in) {
  switch (state_) {
  case State::header:
    return header(in);
  case State::stored:
    return stored(in);
  case State::lengthsOfLengths:
    return lengthsOfLengths(in);
  case State::lengths:
    return lengths(in);
  case State::symbols:
    return symbols(in);
  case State::match:
    return match();
  case State::ended:
    break;
  }
  return Step::on;
}

Deflate::Step Deflate::damage(const char *what) {
  damage_ = what;
  return Step::damaged;
}

Deflate::Step Deflate::header(BitReader &in) {
  if (!in.want(HEADER_BITS))
    return Step::input;
  const auto type = in.peek() >> 1 & 3;
  if (type == 0) {
    const unsigned padding = (in.count() - HEADER_BITS) % 8;
    if (!in.want(HEADER_BITS + padding + STORED_SIZE_BITS))
      return Step::input;
    last_ = in.take(1) != 0;
    in.drop(HEADER_BITS - 1 + padding);
    left_ = in.take(STORED_SIZE_BITS / 2);
    state_ = State::stored;
    return in.take(STORED_SIZE_BITS / 2) == (left_ ^ 0xffff) ? Step::on : damage("bad stored block");
  }
  if (type == 2) {
    if (!in.want(HEADER_BITS + COUNTS_BITS))
      return Step::input;
    last_ = in.take(1) != 0;
    in.drop(2);
    literalCount_ = in.take(5) + 257;
    distanceCount_ = in.take(5) + 1;
    lengthCodeCount_ = in.take(4) + 4;
    if (literalCount_ > LITERALS_MAX || distanceCount_ > DISTANCES_MAX)
      return damage("too many codes");
    read_ = 0;
    lengths_.fill(0);
    state_ = State::lengthsOfLengths;
    return Step::on;
  }
  if (type == 3)
    return damage("bad block type");
  last_ = in.take(1) != 0;
  in.drop(2);
  // Blocks may be empty: made anew for each, tables would cost far more than the bytes of the layer.
  if (!std::exchange(fixed_, true)) {
    literals_.make(FIXED_LITERALS, literalsAndLengths());
    distances_.make(FIXED_DISTANCES, distances());
  }
  state_ = State::symbols;
  return Step::on;
}

Deflate::Step Deflate::stored(BitReader &in) {
  // Bytes that were read as bits come first.
  while (left_ > 0 && in.count() >= 8 && out_ < end_) {
    *out_++ = uint8_t(in.take(8));
    left_--;
  }
  const auto rest = in.rest();
  const size_t size = std::min({left_, rest.size(), size_t(end_ - out_)});
  if (size > 0)
    std::memcpy(out_, rest.data(), size);
  in.feed(rest.subspan(size));
  out_ += size;
  left_ -= size;
  if (left_ > 0)
    return out_ == end_ ? Step::output : Step::input;
  state_ = last_ ? State::ended : State::header;
  return Step::on;
}

Deflate::Step Deflate::lengthsOfLengths(BitReader &in) {
  for (; read_ < lengthCodeCount_; read_++) {
    if (!in.want(3))
      return Step::input;
    lengths_[LENGTHS_ORDER[read_]] = uint8_t(in.take(3));
  }
  if (!lengthCodes_.make(std::span(lengths_).first(LENGTHS_ORDER.size()), codeLengths()))
    return damage("bad code lengths");
  read_ = 0;
  state_ = State::lengths;
  return Step::on;
}

Deflate::Step Deflate::lengths(BitReader &in) {
  /** 16 to 18: repeat the one before, or zero; how often is in extra bits. */
  struct Repeat {
    unsigned bits, least;
  };
  static constexpr Repeat REPEATS[]{{2, 3}, {3, 3}, {7, 11}};
  constexpr unsigned FIRST_REPEAT = 16;
  const size_t all = literalCount_ + distanceCount_;
  while (read_ < all) {
    in.want(LENGTH_BITS + 7);
    const Meaning found = lengthCodes_.look(in.peek());
    if (found.size() > in.count())
      return Step::input;
    if (found.special())
      return in.count() >= LENGTH_BITS ? damage("bad code lengths") : Step::input;
    if (found.value() < FIRST_REPEAT) {
      in.drop(found.size());
      lengths_[read_++] = uint8_t(found.value());
      continue;
    }
    const Repeat repeat = REPEATS[found.value() - FIRST_REPEAT];
    if (found.size() + repeat.bits > in.count())
      return Step::input;
    in.drop(found.size());
    const size_t count = repeat.least + in.take(repeat.bits);
    const bool previous = found.value() == FIRST_REPEAT;
    if (count > all - read_ || (previous && read_ == 0))
      return damage("bad code lengths");
    std::fill_n(lengths_.begin() + read_, count, previous ? lengths_[read_ - 1] : uint8_t{0});
    read_ += count;
  }
  return makeTables();
}

Deflate::Step Deflate::makeTables() {
  constexpr size_t END_OF_BLOCK = 256;
  const std::span<const uint8_t> all(lengths_);
  fixed_ = false;
  if (lengths_[END_OF_BLOCK] == 0)
    return damage("a block has no end");
  if (!literals_.make(all.first(literalCount_), literalsAndLengths()) ||
      !distances_.make(all.subspan(literalCount_, distanceCount_), distances()))
    return damage("bad codes");
  state_ = State::symbols;
  return Step::on;
}

Deflate::Step Deflate::symbols(BitReader &in) {
  while (state_ == State::symbols) {
    if (in.rest().size() >= ROUND_READS && size_t(end_ - out_) >= ROUND_WRITES) {
      if (const Step done = quickly(in); done != Step::on)
        return done;
      continue;
    }
    if (out_ == end_)
      return Step::output;
    if (const Step done = symbol(in); done != Step::on)
      return done;
  }
  return Step::on;
}

/** One symbol, with its distance if it is a length; takes no bits when they are not all there. */
Deflate::Step Deflate::symbol(BitReader &in) {
  /** Code and extra bits of a length and of a distance: 48. */
  in.want(BitReader::BITS_MAX);
  uint64_t bits = in.peek();
  unsigned taken = 0;
  const auto next = [&](const DeflateTable &table) {
    Meaning found = table.look(bits);
    if (found.longer()) {
      bits >>= found.size();
      taken += found.size();
      found = table.lookOn(found, bits);
    }
    return found;
  };
  const auto invalid = [&](const char *what) {
    return in.count() >= BitReader::BITS_MAX - 8 ? damage(what) : Step::input;
  };
  const Meaning first = next(literals_);
  if (first.special() && !first.end())
    return invalid("bad code");
  taken += first.size();
  if (taken > in.count())
    return Step::input;
  if (first.end()) {
    in.drop(taken);
    state_ = last_ ? State::ended : State::header;
    return Step::on;
  }
  if (first.literal()) {
    in.drop(taken);
    *out_++ = uint8_t(first.value());
    return Step::on;
  }
  const size_t size = first.number(bits);
  bits >>= first.size();
  const Meaning second = next(distances_);
  if (second.special())
    return invalid("bad distance");
  taken += second.size();
  if (taken > in.count())
    return Step::input;
  distance_ = second.number(bits);
  in.drop(taken);
  if (distance_ > size_t(out_ - first_))
    return damage("a distance reaches too far");
  left_ = size;
  state_ = State::match;
  return Step::on;
}

/** Byte by byte, up to the end of the output. */
Deflate::Step Deflate::match() {
  const size_t size = std::min(left_, size_t(end_ - out_));
  matches_->add({uint32_t(out_ - base_), uint16_t(size), uint16_t(distance_)});
  for (const uint8_t *const end = out_ + size; out_ < end; out_++)
    *out_ = *(out_ - distance_);
  left_ -= size;
  if (left_ > 0)
    return Step::output;
  state_ = State::symbols;
  return Step::on;
}

} // namespace berth::squash
