// SPDX-License-Identifier: Apache-2.0
#include "match_carrier.hh"

#include <algorithm>
#include <cstring>

#include "pieces.hh"

namespace berth::squash {

void MatchCarrier::begin(bool shared) {
  shared_ = shared;
  position_ = UNKNOWN;
  unbroken_ = 0;
}

void MatchCarrier::hole() {
  position_ = SCATTERED;
  unbroken_ = 0;
}

void MatchCarrier::carry(std::span<const uint8_t> bytes, Block &block) {
  const auto known = source_ == nullptr ? MatchSource::Known{} : source_->matches(bytes);
  if (known.position == 0)
    return;
  if (position_ == UNKNOWN)
    position_ = known.position;
  const size_t end = known.begin + bytes.size();
  /** How far the first byte can look back in its own content. */
  const size_t behind = std::min(unbroken_, block.size);
  unbroken_ += bytes.size();
  const auto shift = uint32_t(block.size - known.begin);
  Match *out = block.matches.end();
  for (const Match &match : known.matches) {
    if (match.at >= end)
      break;
    const size_t first = std::max<size_t>(match.at, known.begin);
    const size_t last = std::min<size_t>(match.at + match.size, end);
    const Match moved{uint32_t(first) + shift, uint16_t(last - first), match.distance};
    const size_t offset = first - known.begin;
    if (match.distance <= behind + offset) {
      *out = moved;
      out += Matches::worth(moved.size, moved.distance);
      continue;
    }
    block.matches.setEnd(out);
    lookOutside(moved, behind + offset, known.position + offset - match.distance, bytes.subspan(offset),
                block);
    out = block.matches.end();
  }
  block.matches.setEnd(out);
}

/** A match that looks back, to `position` of what passed, farther than the `behind` bytes of its content. */
void MatchCarrier::lookOutside(Match match, size_t behind, uint64_t position, std::span<const uint8_t> bytes,
                               Block &block) const {
  const size_t outside = std::min<size_t>(match.distance - behind, match.size);
  const auto next = std::ranges::upper_bound(neighbours_, position, {}, &Neighbour::position);
  if (shared_ && next != neighbours_.begin() && position - next[-1].position < next[-1].size) {
    const auto offset = size_t(position - next[-1].position);
    const size_t from = next[-1].at + offset, size = std::min(outside, next[-1].size - offset);
    // Farther than in the layer where a sparse file's zeros lie between.
    const size_t distance = match.at - from;
    if (distance <= Piece::WINDOW && std::memcmp(&block.bytes[from], bytes.data(), size) == 0)
      block.matches.add({match.at, uint16_t(size), uint16_t(distance)});
  }
  block.matches.add({uint32_t(match.at + outside), uint16_t(match.size - outside), match.distance});
}

void MatchCarrier::kept(size_t at, size_t size) {
  if (!shared_)
    neighbours_.clear();
  if (position_ != UNKNOWN && position_ != SCATTERED)
    neighbours_.push_back({position_, uint32_t(at), uint32_t(size)});
}

} // namespace berth::squash
