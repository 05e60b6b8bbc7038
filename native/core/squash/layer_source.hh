// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pieces.hh"
#include "tar.hh"

namespace berth::squash {

/** The merger's view of the pieces: one layer at a time. */
class LayerSource final : public ByteSource {
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
      const Piece *piece = ended_ ? nullptr : pieces_.next(Reader::merger);
      if (piece == nullptr)
        return {};
      held_ = true;
      ended_ = piece->last;
      bytes_ += piece->size;
      if (piece->size > 0)
        return piece->span();
    }
  }

private:
  Pieces &pieces_;
  bool held_ = false, ended_ = false;
  uint64_t bytes_ = 0;
};

} // namespace berth::squash
