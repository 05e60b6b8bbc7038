// SPDX-License-Identifier: Apache-2.0
#include "copy_runs.hh"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

namespace berth::assemble {

using squash::Bytes;

namespace {

/** Shorter runs are gathered in memory: a system call each would cost more than the copy. */
constexpr uint64_t RUN_BY_KERNEL = 1 << 20;
/** After each the disk may be told to begin. */
constexpr uint64_t PART_BY_KERNEL = 8 << 20;
/** File systems share extents only where both sides are aligned to it. */
constexpr uint64_t ALIGNMENT = 4096;
constexpr size_t PIECE = 512 * 1024;

Result<> copyByKernel(int image, int out, const Run &run, Disk disk, uint64_t &copied) {
  while (copied < run.size) {
    auto from = off64_t(run.from + copied), to = off64_t(run.to + copied);
    const uint64_t part = std::min(run.size - copied, PART_BY_KERNEL);
    const ssize_t done = copy_file_range(image, &from, out, &to, part, 0);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
      return fail("copy_file_range", "image");
    if (done <= 0)
      return Nothing{}; // Not between these file systems: read and write.
    // While the rest is copied, so that the fsync at the end waits for less.
    if (disk == Disk::begins)
      (void)sync_file_range(out, off64_t(run.to + copied), done, SYNC_FILE_RANGE_WRITE);
    copied += uint64_t(done);
  }
  return Nothing{};
}

Result<> copyPlain(int image, uint64_t from, uint64_t size, Bytes &piece, squash::Output &head) {
  while (size > 0) {
    const ssize_t got = pread(image, piece.data(), std::min<uint64_t>(size, PIECE), off_t(from));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? fail("pread", "image") : fail(EUCLEAN, "pread", "image", "it became shorter");
    if (auto done = head.append({piece.data(), size_t(got)}); !done)
      return done;
    from += uint64_t(got);
    size -= uint64_t(got);
  }
  return Nothing{};
}

} // namespace

void settleRuns(std::vector<Run> &runs, uint64_t start) {
  std::ranges::sort(runs, {}, &Run::from);
  size_t last = 0;
  for (size_t i = 1; i < runs.size(); i++) {
    if (runs[i].from > runs[last].from + runs[last].size)
      runs[++last] = runs[i];
    else
      runs[last].size = std::max(runs[last].size, runs[i].from + runs[i].size - runs[last].from);
  }
  if (!runs.empty())
    runs.resize(last + 1);
  for (Run &run : runs) {
    if (run.size >= RUN_BY_KERNEL)
      start += (run.from - start) % ALIGNMENT;
    run.to = start;
    start += run.size;
  }
}

uint64_t placeOf(const std::vector<Run> &runs, uint64_t from) {
  const auto after = std::ranges::upper_bound(runs, from, {}, &Run::from);
  const Run &run = *std::prev(after);
  return run.to + (from - run.from);
}

Result<> copyRuns(int image, int out, const std::vector<Run> &runs, squash::Output &head, Disk disk) {
  Bytes piece(PIECE);
  for (Run run : runs) {
    if (auto done = head.append(Bytes(run.to - head.position())); !done)
      return done;
    if (run.size >= RUN_BY_KERNEL) {
      const uint64_t first = (ALIGNMENT - run.from % ALIGNMENT) % ALIGNMENT;
      if (auto done = copyPlain(image, run.from, first, piece, head); !done)
        return done;
      if (auto done = head.flush(); !done)
        return done;
      run = {run.from + first, run.size - first, run.to + first};
      uint64_t copied = 0;
      if (auto done = copyByKernel(image, out, run, disk, copied); !done)
        return done;
      head.skipTo(run.to + copied);
      run = {run.from + copied, run.size - copied, run.to + copied};
    }
    if (auto done = copyPlain(image, run.from, run.size, piece, head); !done)
      return done;
  }
  return head.flush();
}

} // namespace berth::assemble
