// SPDX-License-Identifier: Apache-2.0
/** The compressed bytes of all layers on their way in: pushed by the caller, taken layer by layer by the
 * inflater. */
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "format.hh"
#include "gate.hh"

namespace berth::squash {

/** Answers one write() or end(); called from any thread, never with a lock held. */
using Done = std::function<void(Result<>)>;

class Feed {
public:
  /** Of the layer being merged: enough to ride out the turnaround to the caller's event loop. */
  static constexpr size_t CURRENT_WINDOW = 2 << 20;
  /** Of each layer that waits, and of all of them: downloads go on meanwhile, memory stays bounded. */
  static constexpr size_t WAITING_WINDOW = 4 << 20;
  static constexpr size_t WAITING_WINDOW_SUM = 16 << 20;

  Feed(Gate &gate, unsigned layers);

  /** Keeps the bytes; `done` is called when the caller should send more of this layer. */
  void push(unsigned layer, Bytes bytes, Done done);
  void end(unsigned layer, Done done);
  /** The inflater turns to this layer. */
  void select(unsigned layer);
  /** Waits for bytes of the selected layer; false at its end or when stopped. */
  bool take(Bytes &bytes);
  /** Makes ended layers writable again for a second pass. */
  void reopen(const std::vector<unsigned> &layers);
  bool ended(unsigned layer);
  /** Calls those who wait with the error. */
  void reject(const Error &error);
  /** Bytes taken by the inflater. */
  uint64_t taken();

private:
  struct Layer {
    std::deque<Bytes> chunks;
    size_t size = 0;
    bool ended = false;
    std::vector<Done> waiting;
  };

  bool roomLocked(unsigned layer) const;
  std::vector<Done> releaseLocked();

  Gate &gate_;
  std::condition_variable filled_;
  std::vector<Layer> layers_;
  unsigned current_ = NONE;
  /** Bytes held of layers other than the current one. */
  size_t waitingSize_ = 0;
  uint64_t taken_ = 0;
};

} // namespace berth::squash
