// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "block_line.hh"

namespace berth::squash {

/**
 * Takes what is known of a layer's bytes along to the blocks they are copied into. In the layer a match looks
 * back across headers and other files; in a block it can look back at what is in the same block.
 */
class MatchCarrier {
public:
  /** `source` may be null: nothing is known. */
  explicit MatchCarrier(const MatchSource *source) : source_(source) {}

  /** A content begins; `shared`: behind those that were kept() in the same block. */
  void begin(bool shared);
  /** Before `bytes` are copied to the block's end. */
  void carry(std::span<const uint8_t> bytes, Block &block);
  /** Zeros came in between that the layer does not hold. */
  void hole();
  /** The content stays, from `at` on, in a block where others follow: that of begin(), or a new one. */
  void kept(size_t at, size_t size);

private:
  /** Contents whose place in the layer is not known (yet), or that are not in one piece there. */
  static constexpr uint64_t UNKNOWN = UINT64_MAX, SCATTERED = UINT64_MAX - 1;
  struct Neighbour {
    uint64_t position;
    uint32_t at, size;
  };

  void lookOutside(Match match, size_t behind, uint64_t position, std::span<const uint8_t> bytes,
                   Block &block) const;

  const MatchSource *source_;
  bool shared_ = false;
  /** Where the content began, in all bytes that passed. */
  uint64_t position_ = UNKNOWN;
  /** Bytes of it so far that stand one behind the other, in the layer as here. */
  size_t unbroken_ = 0;
  /** What the shared block holds, in order. */
  std::vector<Neighbour> neighbours_;
};

} // namespace berth::squash
