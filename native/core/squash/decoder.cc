// SPDX-License-Identifier: Apache-2.0
#include "decoder.hh"

namespace berth::squash {

Result<std::unique_ptr<Inflater>> Decoder::open(Bytes &chunk) {
  Bytes more;
  while (chunk.size() < Inflater::MAGIC_SIZE && feed_.take(more))
    chunk.insert(chunk.end(), more.begin(), more.end());
  chunk.reserve(chunk.size() + Inflater::INPUT_SLACK);
  return Inflater::sniff(chunk);
}

Result<> Decoder::publish(bool last) {
  if (piece_ == nullptr)
    return gate_.error();
  piece_->layer = layer_;
  piece_->last = last;
  if (bytes_.fetch_add(piece_->size) + piece_->size > bytesMax_)
    return fail(EFBIG, "inflate", {},
                "the layers have more than " + std::to_string(bytesMax_) + " bytes uncompressed");
  pieces_.publish();
  piece_ = nullptr;
  return Nothing{};
}

Result<> Decoder::decode(Inflater &inflater, std::span<const uint8_t> in) {
  for (;;) {
    if (piece_ == nullptr) {
      if ((piece_ = pieces_.claim()) == nullptr)
        return gate_.error();
      piece_->size = 0;
    }
    std::span<uint8_t> out(piece_->bytes.get() + piece_->size, Pieces::PIECE_SIZE - piece_->size);
    if (auto done = inflater.step(in, out); !done)
      return done;
    piece_->size = Pieces::PIECE_SIZE - out.size();
    if (!out.empty())
      return Nothing{};
    if (auto done = publish(false); !done)
      return done;
  }
}

Result<> Decoder::run(unsigned layer) {
  layer_ = layer;
  feed_.select(layer);
  Bytes chunk;
  auto inflater = open(chunk);
  Result<> done = inflater ? Result<>(Nothing{}) : Result<>(inflater.error());
  if (done)
    done = decode(**inflater, chunk);
  while (done && feed_.take(chunk)) {
    chunk.reserve(chunk.size() + Inflater::INPUT_SLACK);
    done = decode(**inflater, chunk);
  }
  if (gate_.stopped())
    return gate_.error();
  if (done && !(*inflater)->complete())
    done = fail(EBADMSG, "inflate", {}, "the layer is truncated");
  if (done)
    done = publish(true);
  if (!done)
    done.error().path = "layer " + std::to_string(layer);
  return done;
}

} // namespace berth::squash
