// SPDX-License-Identifier: Apache-2.0
/** Where nearly all of a decoder's time goes: symbols with enough input and output around them. */
#include "deflate.hh"

#include <cstring>

namespace berth::squash {

/** `size` bytes from `distance` bytes before `to`; may write up to 2 * COPY_SIZE bytes too far. */
inline void Deflate::copy(uint8_t *to, size_t size, size_t distance) {
  const uint8_t *from = to - distance;
  const uint8_t *const end = to + size;
  if (distance >= COPY_SIZE) {
    std::memcpy(to, from, COPY_SIZE);
    std::memcpy(to + COPY_SIZE, from + COPY_SIZE, COPY_SIZE);
    for (to += 2 * COPY_SIZE, from += 2 * COPY_SIZE; to < end; to += COPY_SIZE, from += COPY_SIZE)
      std::memcpy(to, from, COPY_SIZE);
    return;
  }
  if (distance == 1) {
    std::memset(to, *from, size);
    return;
  }
  // The first eight one by one; then the nearest multiple of the distance that eight at a time can be copied
  // from.
  constexpr size_t WORD = 8;
  for (size_t i = 0; i < WORD; i++)
    to[i] = from[i];
  const size_t far = distance * ((WORD + distance - 1) / distance);
  for (to += WORD; to < end; to += WORD)
    std::memcpy(to, to - far, WORD);
}

/** As symbol(), as long as input and output have room for a whole round. */
[[gnu::always_inline]] inline Deflate::Step Deflate::rounds(BitReader &reader) {
  const auto rest = reader.rest();
  const uint8_t *const inLast = rest.data() + rest.size() - (ROUND_READS - 8);
  uint8_t *const outLast = end_ - ROUND_WRITES;
  const Meaning *const literals = literals_.entries(), *const distances = distances_.entries();
  constexpr uint32_t LITERAL_MASK = (1u << LITERAL_BITS) - 1, DISTANCE_MASK = (1u << DISTANCE_BITS) - 1;
  BitReader::Registers in = reader.registers();
  uint8_t *out = out_;
  const uint8_t *const base = base_, *const first = first_;
  Match *match = matches_->end();
  Step done = Step::on;
  in.refill();
  Meaning next = literals[in.bits & LITERAL_MASK];
  while (in.at <= inLast && out <= outLast) {
    // After each refill 56 bits are there: three literals, or what is left of them for a length and its
    // distance.
    if (next.literal()) {
      in.drop(next.size());
      *out++ = uint8_t(next.value());
      next = literals[in.bits & LITERAL_MASK];
      if (next.literal()) {
        in.drop(next.size());
        *out++ = uint8_t(next.value());
        next = literals[in.bits & LITERAL_MASK];
        if (next.literal()) {
          in.drop(next.size());
          *out++ = uint8_t(next.value());
          in.refill();
          next = literals[in.bits & LITERAL_MASK];
          continue;
        }
      }
      in.refill();
    }
    if (next.special()) [[unlikely]] {
      if (next.longer()) {
        in.drop(next.size());
        next = literals_.lookOn(next, in.bits);
        if (next.literal()) {
          in.drop(next.size());
          *out++ = uint8_t(next.value());
          in.refill();
          next = literals[in.bits & LITERAL_MASK];
          continue;
        }
      }
      if (next.special()) {
        in.drop(next.size());
        if (next.end())
          state_ = last_ ? State::ended : State::header;
        else
          done = damage("bad code");
        break;
      }
    }
    const size_t size = next.number(in.bits);
    in.drop(next.size());
    Meaning second = distances[in.bits & DISTANCE_MASK];
    if (second.special()) [[unlikely]] {
      if (second.longer()) {
        in.drop(second.size());
        second = distances_.lookOn(second, in.bits);
      }
      if (second.special()) {
        done = damage("bad distance");
        break;
      }
    }
    const size_t distance = second.number(in.bits);
    in.drop(second.size());
    if (distance > size_t(out - first)) [[unlikely]] {
      done = damage("a distance reaches too far");
      break;
    }
    in.refill();
    next = literals[in.bits & LITERAL_MASK];
    *match = {uint32_t(out - base), uint16_t(size), uint16_t(distance)};
    match += Matches::worth(size, distance);
    copy(out, size, distance);
    out += size;
  }
  reader.store(in);
  out_ = out;
  matches_->setEnd(match);
  return done;
}

#if defined(__x86_64__)
/** Shifts by a register take one operation there, and three without. */
[[gnu::target("bmi2")]] Deflate::Step Deflate::roundsBmi2(BitReader &in) { return rounds(in); }
#endif

Deflate::Step Deflate::quickly(BitReader &in) {
#if defined(__x86_64__)
  static const bool bmi2 = __builtin_cpu_supports("bmi2");
  if (bmi2)
    return roundsBmi2(in);
#endif
  return rounds(in);
}

} // namespace berth::squash
