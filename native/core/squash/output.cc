// SPDX-License-Identifier: Apache-2.0
#include "output.hh"

#include <algorithm>
#include <fcntl.h>

namespace berth::squash {

Result<> Output::writeAt(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), off_t(offset));
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return fail("pwrite", "image");
    if (written == 0)
      return fail(ENOSPC, "pwrite", "image");
    bytes = bytes.subspan(size_t(written));
    offset += uint64_t(written);
  }
  return Nothing{};
}

bool Output::fence(uint64_t offset) {
  // The writer may be another thread: each announces its step before it looks at the other's.
  fence_ = offset;
  if (reached_ <= offset)
    return true;
  fence_ = UINT64_MAX;
  return false;
}

Result<> Output::flush() {
  reached_ = flushed_ + buffer_.size();
  if (reached_ > fence_)
    return fail(EFBIG, "pwrite", "image");
  if (auto done = writeAt(flushed_, buffer_); !done)
    return done;
  flushed_ += buffer_.size();
  buffer_.clear();
  startDisk();
  return Nothing{};
}

void Output::startDisk() {
  // After skipTo() somebody else wrote what is in between, and has started the disk for it.
  if (flushed_ < started_ || flushed_ - started_ > DISK_STEP * 2)
    started_ = flushed_;
  if (flushed_ - started_ < DISK_STEP)
    return;
  // A hint: what fails here fails at the fsync too.
  (void)sync_file_range(fd_, off64_t(started_), off64_t(flushed_ - started_), SYNC_FILE_RANGE_WRITE);
  started_ = flushed_;
}

Result<> Output::append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t take = std::min(bytes.size(), BUFFER_SIZE - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + ptrdiff_t(take));
    bytes = bytes.subspan(take);
    if (buffer_.size() == BUFFER_SIZE)
      if (auto done = flush(); !done)
        return done;
  }
  return Nothing{};
}

Result<> Output::readBack(uint64_t offset, std::span<uint8_t> bytes) {
  if (auto done = flush(); !done)
    return done;
  while (!bytes.empty()) {
    const ssize_t got = pread(fd_, bytes.data(), bytes.size(), off_t(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? fail("pread", "image") : fail(EIO, "pread", "image", "the file became shorter");
    bytes = bytes.subspan(size_t(got));
    offset += uint64_t(got);
  }
  return Nothing{};
}

Result<> Output::copyBack(uint64_t offset, uint64_t size) {
  Bytes piece(std::min<uint64_t>(size, BUFFER_SIZE));
  while (size > 0) {
    const std::span part(piece.data(), std::min<uint64_t>(size, piece.size()));
    if (auto read = readBack(offset, part); !read)
      return read;
    if (auto done = append(part); !done)
      return done;
    offset += part.size();
    size -= part.size();
  }
  return Nothing{};
}

} // namespace berth::squash
