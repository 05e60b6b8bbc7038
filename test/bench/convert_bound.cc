// SPDX-License-Identifier: Apache-2.0
/**
 * What no converter can beat: layers inflated on one thread and hashed on another, nothing else. Usage:
 * convert_bound LAYER... The parts are the converter's own.
 */
#include "core/squash/decoder.hh"
#include "core/squash/sha256.hh"
#include "core/squash/thread.hh"

#include <cstdio>
#include <fcntl.h>

using namespace berth;
using namespace berth::squash;

int main(int count, char **arguments) {
  Gate gate;
  Feed feed(gate, unsigned(count - 1));
  Pieces pieces(gate);
  Decoder decoder(gate, feed, pieces, UINT64_MAX);
  Thread inflating, hashing, dropping;
  const auto failed = [&](const Error &error) { fprintf(stderr, "%s\n", error.message.c_str()); };
  gate.whenStopped(failed);
  const auto inflate = [&] {
    for (int i = 0; i < count - 1; i++)
      if (auto done = decoder.run(unsigned(i)); !done)
        return gate.stop(done.error());
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
