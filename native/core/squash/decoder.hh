// SPDX-License-Identifier: Apache-2.0
/** Takes a layer's bytes from the feed and publishes its tar bytes as pieces. */
#pragma once

#include <atomic>

#include "feed.hh"
#include "inflate.hh"
#include "pieces.hh"

namespace berth::squash {

class Decoder {
public:
  Decoder(Gate &gate, Feed &feed, Pieces &pieces, uint64_t bytesMax)
      : gate_(gate), feed_(feed), pieces_(pieces), bytesMax_(bytesMax) {}

  /** One layer to its end. */
  Result<> run(unsigned layer);
  /** Raises the limit by bytes that come a second time. Not while run() is at work. */
  void allow(uint64_t bytes) { bytesMax_ = bytes > UINT64_MAX - bytesMax_ ? UINT64_MAX : bytesMax_ + bytes; }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

private:
  Result<std::unique_ptr<Inflater>> open(Bytes &chunk);
  Result<> decode(Inflater &inflater, std::span<const uint8_t> in);
  Result<> publish(bool last);

  Gate &gate_;
  Feed &feed_;
  Pieces &pieces_;
  uint64_t bytesMax_;
  std::atomic<uint64_t> bytes_ = 0;
  unsigned layer_ = 0;
  Piece *piece_ = nullptr;
};

} // namespace berth::squash
