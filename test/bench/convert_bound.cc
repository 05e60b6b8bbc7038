// SPDX-License-Identifier: Apache-2.0
/**
 * What no converter can beat: layers inflated by isa-l on one thread and hashed on another, nothing else.
 * Usage: convert_bound LAYER... Queues and hash are the converter's own.
 */
#include "core/squash/feed.hh"
#include "core/squash/pieces.hh"
#include "core/squash/sha256.hh"
#include "core/squash/thread.hh"

#include <cstdio>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>

using namespace berth;
using namespace berth::squash;

/** Each layer is one gzip member. */
static void inflateLayer(Feed &feed, Pieces &pieces, unsigned layer) {
  static inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  feed.select(layer);
  Bytes chunk;
  while (feed.take(chunk)) {
    state.next_in = chunk.data();
    state.avail_in = uint32_t(chunk.size());
    do {
      Piece *piece = pieces.claim();
      if (piece == nullptr)
        return;
      state.next_out = piece->data();
      state.avail_out = Piece::SIZE;
      isal_inflate(&state);
      piece->size = Piece::SIZE - state.avail_out;
      pieces.publish();
    } while (state.avail_in > 0 || state.avail_out == 0);
  }
}

int main(int count, char **arguments) {
  Gate gate;
  Feed feed(gate, unsigned(count - 1));
  Pieces pieces(gate);
  Thread inflating, hashing, dropping;
  const auto failed = [&](const Error &error) { fprintf(stderr, "%s\n", error.message.c_str()); };
  gate.whenStopped(failed);
  const auto inflate = [&] {
    for (int i = 0; i < count - 1; i++)
      inflateLayer(feed, pieces, unsigned(i));
    pieces.close();
  };
  const auto hash = [&] {
    Sha256 sum;
    while (const Piece *piece = pieces.next(Reader::hasher)) {
      sum.update(piece->span());
      pieces.release(Reader::hasher);
    }
    printf("%s\n", toHex(sum.finish()).c_str());
  };
  const auto drop = [&] {
    while (pieces.next(Reader::merger) != nullptr)
      pieces.release(Reader::merger);
  };
  if (!inflating.start(gate, inflate) || !hashing.start(gate, hash) || !dropping.start(gate, drop))
    return 1;
  for (int i = 1; i < count; i++) {
    const Fd file(open(arguments[i], O_RDONLY | O_CLOEXEC));
    for (;;) {
      Bytes bytes(64 * 1024);
      const ssize_t got = read(file.get(), bytes.data(), bytes.size());
      if (got <= 0)
        break;
      bytes.resize(size_t(got));
      std::condition_variable answered;
      std::mutex mutex;
      bool ready = false;
      feed.push(unsigned(i - 1), std::move(bytes), [&](Result<>) {
        std::lock_guard lock(mutex);
        ready = true;
        answered.notify_one();
      });
      std::unique_lock lock(mutex);
      answered.wait(lock, [&] { return ready; });
    }
    feed.end(unsigned(i - 1), [](Result<>) {});
  }
  hashing.join();
  return gate.stopped() ? 1 : 0;
}
