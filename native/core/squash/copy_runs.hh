// SPDX-License-Identifier: Apache-2.0
/** Compressed blocks of one image into another, as they are. */
#pragma once

#include <vector>

#include "output.hh"

namespace berth::assemble {

/** Bytes of an image that are copied, and where they come to be. */
struct Run {
  uint64_t from, size, to;
};

/**
 * Ascending, without overlaps; then each gets its place, the first not before `start`. A long one keeps its
 * place within a block of the file system, so that it can be shared instead of copied.
 */
void settleRuns(std::vector<Run> &runs, uint64_t start);
/** Where a byte of the image comes to be; it must be in one of the settled runs. */
uint64_t placeOf(const std::vector<Run> &runs, uint64_t from);
/** What becomes of bytes that were copied: somebody will wait for the disk, or nobody. */
enum class Disk : uint8_t { begins, later };
/** Writes settled runs of `image` to `out`, behind what `head` has written; `head` goes on behind them. */
Result<> copyRuns(int image, int out, const std::vector<Run> &runs, squash::Output &head,
                  Disk disk = Disk::begins);

} // namespace berth::assemble
