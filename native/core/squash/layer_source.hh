// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "pieces.hh"
#include "tar.hh"

namespace berth::squash {

/** The merger's view of the pieces: one layer at a time. */
class LayerSource final : public ByteSource, public MatchSource {
public:
  explicit LayerSource(Pieces &pieces) : pieces_(pieces) {}

  void restart() {
    ended_ = false;
    bytes_ = 0;
  }
  /** Since restart(). */
  uint64_t bytes() const { return bytes_; }
  std::span<const uint8_t> more() override {
    for (;;) {
      if (held_)
        pieces_.release(Reader::merger);
      held_ = false;
      piece_ = ended_ ? nullptr : pieces_.next(Reader::merger);
      if (piece_ == nullptr)
        return {};
      held_ = true;
      ended_ = piece_->last;
      bytes_ += piece_->size;
      if (piece_->size > 0)
        return piece_->span();
    }
  }

  Known matches(std::span<const uint8_t> bytes) const override {
    if (piece_ == nullptr || bytes.data() < piece_->span().data() ||
        bytes.data() + bytes.size() > piece_->span().data() + piece_->size)
      return {};
    const size_t from = size_t(bytes.data() - piece_->span().data());
    const auto all = piece_->matches.all();
    const auto first =
        std::ranges::partition_point(all, [&](const Match &match) { return match.at + match.size <= from; });
    return {all.subspan(size_t(first - all.begin())), from, piece_->position + from};
  }

private:
  Pieces &pieces_;
  const Piece *piece_ = nullptr;
  bool held_ = false, ended_ = false;
  uint64_t bytes_ = 0;
};

} // namespace berth::squash
