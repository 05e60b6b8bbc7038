// SPDX-License-Identifier: Apache-2.0
/** Tar bytes from the inflater to two readers, the hasher and the merger, who each see every piece once and
 * in order. */
#pragma once

#include <array>
#include <memory>
#include <span>

#include "gate.hh"

namespace berth::squash {

struct Piece {
  unsigned layer = 0;
  /** Last one of its layer; may be empty. */
  bool last = false;
  size_t size = 0;
  std::unique_ptr<uint8_t[]> bytes;

  std::span<const uint8_t> span() const { return {bytes.get(), size}; }
};

enum class Reader : unsigned { hasher, merger };

class Pieces {
public:
  /** Large enough that hand-overs cost nothing, all of them small enough for a second-level cache. */
  static constexpr size_t PIECE_SIZE = 128 * 1024;
  static constexpr unsigned PIECES = 8;

  explicit Pieces(Gate &gate);

  /** The piece to fill next, nullptr when stopped. */
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
