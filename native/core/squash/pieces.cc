// SPDX-License-Identifier: Apache-2.0
#include "pieces.hh"

#include <algorithm>

namespace berth::squash {

Pieces::Pieces(Gate &gate) : gate_(gate) {
  gate_.watch(free_);
  gate_.watch(filled_);
  for (auto &piece : pieces_)
    piece.bytes.reset(new uint8_t[PIECE_SIZE]);
}

Piece *Pieces::claim() {
  std::unique_lock lock(gate_.mutex);
  const auto room = [&] { return published_ - std::min(released_[0], released_[1]) < PIECES; };
  return gate_.wait(lock, free_, room) ? &pieces_[published_ % PIECES] : nullptr;
}

void Pieces::publish() {
  std::lock_guard lock(gate_.mutex);
  published_++;
  filled_.notify_all();
}

void Pieces::close() {
  std::lock_guard lock(gate_.mutex);
  closed_ = true;
  filled_.notify_all();
}

const Piece *Pieces::next(Reader reader) {
  std::unique_lock lock(gate_.mutex);
  const auto &done = released_[unsigned(reader)];
  if (!gate_.wait(lock, filled_, [&] { return done < published_ || closed_; }) || done == published_)
    return nullptr;
  return &pieces_[done % PIECES];
}

void Pieces::release(Reader reader) {
  std::lock_guard lock(gate_.mutex);
  released_[unsigned(reader)]++;
  free_.notify_one();
}

} // namespace berth::squash
