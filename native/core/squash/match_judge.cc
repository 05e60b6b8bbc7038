// SPDX-License-Identifier: Apache-2.0
#include "match_judge.hh"

namespace berth::squash {

void MatchJudge::judge(Block &block) {
  size_t covered = 0;
  for (const Match &match : block.matches.all())
    covered += match.size;
  if (covered * 100 > block.size * COVERED_MAX)
    block.matches.clear();
  if (block.matches.all().empty())
    return;
  if (seen_ % (seen_ < FIRST ? EVERY_FIRST : EVERY) == 0)
    sample(block);
  seen_++;
  if (byMatches_ * 100 > searched_ * PERCENT_MAX)
    block.matches.clear();
}

void MatchJudge::sample(const Block &block) {
  byMatches_ = byMatches_ * 7 / 8 + packedSize(block, block.matches.all());
  searched_ = searched_ * 7 / 8 + packedSize(block, {});
}

size_t MatchJudge::packedSize(const Block &block, std::span<const Match> matches) {
  const size_t size =
      codec_->compress({block.bytes.get(), block.size}, {packed_.get(), compressedMax(block.size)}, matches);
  return size == 0 ? block.size : size;
}

} // namespace berth::squash
