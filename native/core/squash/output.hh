// SPDX-License-Identifier: Apache-2.0
/** The file being written: an append position with a buffer, so that each byte goes to the kernel once and in
 * order. */
#pragma once

#include <atomic>
#include <span>

#include "../result.hh"
#include "format.hh"

namespace berth::squash {

class Output {
public:
  /** Borrows `fd`. Writing starts at offset `from`. */
  Output(int fd, uint64_t from) : fd_(fd), flushed_(from), started_(from) { buffer_.reserve(BUFFER_SIZE); }

  uint64_t position() const { return flushed_ + buffer_.size(); }
  Result<> append(std::span<const uint8_t> bytes);
  Result<> flush();
  /** Goes on at `position`, after bytes that somebody else wrote; only when nothing is buffered. */
  void skipTo(uint64_t position) { flushed_ = position; }
  /** Nothing is written at or behind `offset` from now on: EFBIG. False, and no fence, when it was already.
   */
  bool fence(uint64_t offset);
  int fd() const { return fd_; }
  /** Outside of the append order: the superblock. */
  Result<> writeAt(uint64_t offset, std::span<const uint8_t> bytes);
  /** Bytes appended before; flushes first. */
  Result<> readBack(uint64_t offset, std::span<uint8_t> bytes);
  /** Appends `size` bytes that start at `offset` of what was appended before. */
  Result<> copyBack(uint64_t offset, uint64_t size);

private:
  /** Some ten blocks a write(2): fewer gain nothing more. */
  static constexpr size_t BUFFER_SIZE = 512 * 1024;

  /**
   * The disk begins while the rest is made, so that the fsync at the end waits for little: left alone,
   * kernels with much memory write nothing for 30 s (vm.dirty_expire_centisecs).
   */
  static constexpr uint64_t DISK_STEP = 8 << 20;

  void startDisk();

  int fd_;
  uint64_t flushed_, started_;
  Bytes buffer_;
  std::atomic<uint64_t> fence_ = UINT64_MAX, reached_ = 0;
};

} // namespace berth::squash
