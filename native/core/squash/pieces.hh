// SPDX-License-Identifier: Apache-2.0
/** Tar bytes from the inflater to two readers, the hasher and the merger, who each see every piece once and
 * in order. */
#pragma once

#include <array>
#include <memory>
#include <span>

#include "gate.hh"
#include "match.hh"

namespace berth::squash {

class Piece {
public:
  /** Large enough that hand-overs cost nothing, small enough for a second-level cache. */
  static constexpr size_t SIZE = 128 * 1024;
  /** Room in front, where a decoder keeps what its matches look back at (RFC 1951, 2). */
  static constexpr size_t WINDOW = 32 * 1024;

  uint8_t *data() { return memory_.get() + WINDOW; }
  std::span<const uint8_t> span() const { return {memory_.get() + WINDOW, size}; }
  std::span<uint8_t> room() { return {data() + size, SIZE - size}; }
  void clear() {
    size = 0;
    matches.clear();
  }

  /** What its bytes consist of, where the layer's compression tells. */
  Matches matches{SIZE};
  size_t size = 0;
  /** Of its first byte, in all bytes that came so far. */
  uint64_t position = 0;
  unsigned layer = 0;
  /** Last one of its layer; may be empty. */
  bool last = false;

private:
  std::unique_ptr<uint8_t[]> memory_{new uint8_t[WINDOW + SIZE]};
};

enum class Reader : unsigned { hasher, merger };

class Pieces {
public:
  static constexpr unsigned PIECES = 8;

  explicit Pieces(Gate &gate);

  /** The piece to fill next, empty; nullptr when stopped. Its predecessor keeps its bytes meanwhile. */
  Piece *claim();
  void publish();
  /** No more pieces will come. */
  void close();

  /** The reader's next piece, valid until its release(); nullptr when closed and drained or stopped. */
  const Piece *next(Reader reader);
  void release(Reader reader);

private:
  Gate &gate_;
  std::condition_variable free_, filled_;
  std::array<Piece, PIECES> pieces_;
  uint64_t published_ = 0;
  std::array<uint64_t, 2> released_{};
  bool closed_ = false;
};

} // namespace berth::squash
