// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pieces.hh"
#include "tar.hh"

namespace berth::squash {

/** The merger's view of the pieces: one layer at a time. */
class LayerSource final : public ByteSource {
public:
  explicit LayerSource(Pieces &pieces) : pieces_(pieces) {}

  void restart() { ended_ = false; }
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
      if (piece->size > 0)
        return piece->span();
    }
  }

private:
  Pieces &pieces_;
  bool held_ = false, ended_ = false;
};

} // namespace berth::squash
