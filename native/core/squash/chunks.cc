// SPDX-License-Identifier: Apache-2.0
#include "chunks.hh"

#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

namespace berth::squash {
namespace {

/** Room behind the file's own bytes, where no limit asks for less. */
constexpr uint64_t FAR = uint64_t{1} << 40;
/** Of a limit on the file's size, the part that chunks may use. */
constexpr uint64_t SHARE_MAX = uint64_t{16} << 30;

uint64_t baseBelowLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
    return FAR;
  const uint64_t share = std::min<uint64_t>(limit.rlim_cur / 4, SHARE_MAX);
  return std::min<uint64_t>(FAR, (limit.rlim_cur - share) / Chunks::CHUNK_SIZE * Chunks::CHUNK_SIZE);
}

} // namespace

Chunks::~Chunks() { unmap(); }

void Chunks::unmap() {
  for (auto *chunk : mapped_)
    munmap(chunk, CHUNK_SIZE);
  mapped_.clear();
}

uint8_t *Chunks::take() {
  if (!free_.empty()) {
    auto *chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  if (output_ != nullptr && owned_.size() >= ownMax_ / CHUNK_SIZE)
    if (auto *chunk = map())
      return chunk;
  return own();
}

uint8_t *Chunks::own() { return owned_.emplace_back(new uint8_t[CHUNK_SIZE]).get(); }

/** nullptr where the file system can't: memory it is then. Space is taken first, since a full disk would be
 * SIGBUS. */
uint8_t *Chunks::map() {
  if (base_ == 0) {
    base_ = baseBelowLimit();
    if (!output_->fence(base_)) {
      output_ = nullptr;
      return nullptr;
    }
  }
  const auto at = off_t(base_ + mapped_.size() * CHUNK_SIZE);
  int failed;
  do
    failed = fallocate(output_->fd(), 0, at, CHUNK_SIZE) < 0 ? errno : 0;
  while (failed == EINTR);
  void *chunk = failed != 0
                    ? MAP_FAILED
                    : mmap(nullptr, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, output_->fd(), at);
  if (chunk != MAP_FAILED) {
    // Tables are looked up in any order: a fault that reads its megabytes around it would push out all
    // others.
    (void)madvise(chunk, CHUNK_SIZE, MADV_RANDOM);
    return mapped_.emplace_back(static_cast<uint8_t *>(chunk));
  }
  if (failed == ENOSPC || failed == EDQUOT)
    gate_->stop(fail(failed, "fallocate", "image"));
  return nullptr;
}

Result<> Chunks::cut(uint64_t size) {
  const bool grown = base_ != 0;
  unmap();
  owned_.clear();
  free_.clear();
  if (grown && output_ != nullptr && ftruncate(output_->fd(), off_t(size)) < 0)
    return fail("ftruncate", "image");
  return Nothing{};
}

} // namespace berth::squash
