// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block_line.hh"

namespace berth::squash {

/**
 * Says whether a layer's matches are good enough: who compressed it in haste (gzip -1 to -3, igzip) left a
 * tenth of the size to be found. Some blocks are compressed both ways. It sees them in the order of the
 * image, so the verdict depends on no thread.
 */
class MatchJudge {
public:
  MatchJudge(std::unique_ptr<Codec> codec, uint32_t blockSize)
      : codec_(std::move(codec)), packed_(new uint8_t[blockSize]) {}

  /** Drops the matches of a block that is compressed better without. */
  void judge(Block &block);

private:
  /** One of so many blocks is tried, more of the first ones of an image: less than 1 % of a large one's time.
   */
  static constexpr uint64_t EVERY = 128, FIRST = 256, EVERY_FIRST = 8;
  /** Blocks of which nearly all is matches have longer ones in zstd's view, and are quickly searched. */
  static constexpr size_t COVERED_MAX = 90;
  /** What matches may cost in size. */
  static constexpr uint64_t PERCENT_MAX = 103;

  void sample(const Block &block);
  size_t packedSize(const Block &block, std::span<const Match> matches);

  std::unique_ptr<Codec> codec_;
  std::unique_ptr<uint8_t[]> packed_;
  uint64_t seen_ = 0;
  /** Sizes of what was tried; older tries count less and less, since layers come from different hands. */
  uint64_t byMatches_ = 0, searched_ = 0;
};

} // namespace berth::squash
