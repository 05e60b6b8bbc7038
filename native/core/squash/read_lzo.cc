// SPDX-License-Identifier: Apache-2.0
#include "read_lzo.hh"

#include <cstring>

namespace berth::unsquash {
namespace {

/** Distances of the three kinds of far and near matches begin here. */
constexpr size_t kAfterLiterals = 2049;
constexpr size_t kFar = 16384;
/** The stream ends with a match of this length at distance kFar. */
constexpr size_t kEndLength = 3;
/** A first byte of 17 would announce later versions, which mksquashfs does not write. */
constexpr uint8_t kVersioned = 17;
/** What the last instruction copied before this one: 0 to 3 literals, or 4 for a long run of them. */
constexpr unsigned kLongRun = 4;

class Decoder {
public:
  Decoder(std::span<const uint8_t> in, std::span<uint8_t> out) : in_(in), out_(out) {}

  size_t run() {
    if (in_.empty() || in_[0] == kVersioned)
      return 0;
    if (in_[0] > kVersioned) {
      const size_t length = in_[at_++] - size_t{kVersioned};
      literals_ = length < kLongRun ? static_cast<unsigned>(length) : kLongRun;
      if (!copyLiterals(length))
        return 0;
    }
    while (!ended_)
      if (!step())
        return 0;
    return at_ == in_.size() ? made_ : 0;
  }

private:
  bool take(size_t &byte) {
    if (at_ == in_.size())
      return false;
    byte = in_[at_++];
    return true;
  }

  /** A length that did not fit into the `bits` of its instruction goes on: 255 for each zero byte, then the
   * rest. */
  bool takeLength(size_t instruction, unsigned bits, size_t &length) {
    const size_t most = (size_t{1} << bits) - 1;
    length = instruction & most;
    if (length != 0)
      return true;
    length = most;
    size_t byte = 0;
    do {
      if (!take(byte))
        return false;
      length += byte == 0 ? 255 : byte;
    } while (byte == 0);
    return true;
  }

  bool copyLiterals(size_t length) {
    if (length > in_.size() - at_ || length > out_.size() - made_)
      return false;
    std::memcpy(out_.data() + made_, in_.data() + at_, length);
    at_ += length;
    made_ += length;
    return true;
  }

  /** A match, then up to three literals. */
  bool copyMatch(size_t distance, size_t length, size_t literals) {
    if (distance > made_ || length > out_.size() - made_)
      return false;
    // Byte by byte: a match may reach into what it writes.
    for (; length > 0; length--, made_++)
      out_[made_] = out_[made_ - distance];
    literals_ = static_cast<unsigned>(literals);
    return copyLiterals(literals);
  }

  bool step() {
    size_t instruction = 0;
    size_t low = 0;
    size_t length = 0;
    if (!take(instruction))
      return false;
    if (instruction < 16 && literals_ == 0) {
      literals_ = kLongRun;
      return takeLength(instruction, 4, length) && copyLiterals(length + 3);
    }
    if (instruction >= 16 && instruction < 64)
      return farMatch(instruction);
    if (!take(low))
      return false;
    if (instruction >= 64)
      return copyMatch((low << 3) + (instruction >> 2 & 7) + 1, (instruction >> 5) + 1, instruction & 3);
    const bool afterRun = literals_ == kLongRun;
    return copyMatch((low << 2) + (instruction >> 2 & 3) + (afterRun ? kAfterLiterals : 1), afterRun ? 3 : 2,
                     instruction & 3);
  }

  /** Matches whose distance takes two bytes. */
  bool farMatch(size_t instruction) {
    const bool near = instruction >= 32;
    size_t length = 0;
    size_t low = 0;
    size_t high = 0;
    if (!takeLength(instruction, near ? 5 : 3, length) || !take(low) || !take(high))
      return false;
    length += 2;
    const size_t distance = low >> 2 | high << 6;
    if (near)
      return copyMatch(distance + 1, length, low & 3);
    const size_t far = kFar + ((instruction >> 3 & 1) << 14) + distance;
    if (far != kFar)
      return copyMatch(far, length, low & 3);
    ended_ = true;
    return length == kEndLength;
  }

  std::span<const uint8_t> in_;
  std::span<uint8_t> out_;
  size_t at_ = 0;
  size_t made_ = 0;
  unsigned literals_ = 0;
  bool ended_ = false;
};

} // namespace

size_t unpackLzo(std::span<const uint8_t> in, std::span<uint8_t> out) { return Decoder(in, out).run(); }

} // namespace berth::unsquash
