// SPDX-License-Identifier: Apache-2.0
#include "verify_copy.hh"
#include "read_super.hh"

#include <algorithm>
#include <vector>

namespace berth::unsquash {
namespace {

/** One call's share: keeps a cancelled process from waiting for a whole image. */
constexpr uint64_t kStep = 64 << 20;
constexpr size_t kBufferSize = 1 << 20;

/** For file systems that cannot: across mounts on old kernels, FUSE, procfs-like sources. */
void copyByHand(const Source &source, int to, uint64_t from, uint64_t end) {
  std::vector<uint8_t> buffer(kBufferSize);
  while (from < end) {
    const auto piece = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - from));
    source.read(from, piece);
    for (size_t done = 0; done < piece.size();) {
      const ssize_t wrote =
          pwrite(to, piece.data() + done, piece.size() - done, static_cast<off_t>(from + done));
      if (wrote < 0 && errno == EINTR)
        continue;
      if (wrote <= 0)
        throw Fault{wrote < 0 ? errno : EIO, "write at byte " + std::to_string(from + done)};
      done += static_cast<size_t>(wrote);
    }
    from += piece.size();
  }
}

uint64_t copyByKernel(int from, int to, uint64_t base, uint64_t end) {
  uint64_t done = 0;
  while (done < end) {
    auto in = static_cast<off_t>(base + done);
    auto out = static_cast<off_t>(done);
    const ssize_t got = copy_file_range(from, &in, to, &out, std::min(kStep, end - done), 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
      throw Fault{errno, "copy at byte " + std::to_string(done)};
    // Every other failure, and 0 from file systems that only pretend: the rest is copied by hand.
    if (got <= 0)
      break;
    done += static_cast<uint64_t>(got);
  }
  return done;
}

} // namespace

Result<uint64_t> copySquashfs(int from, int to, uint64_t sizeMax, uint64_t base) {
  return guarded([&] {
    const Source source(from, base);
    const uint64_t length = readSuper(source).bytesUsed;
    if (length > sizeMax)
      overLimit("size of the image", length, sizeMax);
    copyByHand(source, to, copyByKernel(from, to, base, length), length);
    const uint64_t padded = (length + kPadding - 1) / kPadding * kPadding;
    if (ftruncate(to, static_cast<off_t>(padded)) < 0)
      throw Fault{errno, "ftruncate"};
    return padded;
  });
}

} // namespace berth::unsquash
