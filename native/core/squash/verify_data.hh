// SPDX-License-Identifier: Apache-2.0
/** Unpacks data blocks, on several threads when asked, and compares their lengths with what the inodes
 * promise. */
#pragma once

#include "read_layout.hh"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace berth::unsquash {

/** Compressed blocks that follow each other in the image and are read at once. */
struct DataRun {
  /** Inode number, or index of the fragment when `fragmentLength` is set: for the error. */
  uint32_t owner = 0;
  uint64_t start = 0;
  /** Size words without holes; every block but the last is of the image's block size. */
  std::vector<uint32_t> words;
  uint32_t bytes = 0;
  uint32_t lastLength = 0;
  /** A fragment: any length is right and is stored here. */
  uint32_t *fragmentLength = nullptr;
};

/** Bounds a run, so that small blocks cost one read and one hand-over for many, and a thread 1 MiB for its
 * input. */
inline constexpr uint32_t kRunBytesMax = 1 << 20;
inline constexpr size_t kRunBlocksMax = 64;

class DataChecker {
public:
  DataChecker(const Source &source, const Layout &layout, const Limits &limits);
  ~DataChecker();

  /** Checks now, or queues (waits while the queue is full). Throws the fault of an earlier run. */
  void check(DataRun run);
  /** Waits for all runs; throws the fault of the first one, in the order of check(). */
  void finish();

private:
  struct Worker;
  void work();
  void noteFault(uint64_t sequence);

  const Source &source_;
  const Layout &layout_;
  const uint64_t bytesMax_;
  uint64_t bytes_ = 0;
  std::unique_ptr<Worker> own_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<uint64_t, DataRun>> queue_;
  std::vector<std::thread> threads_;
  uint64_t sequence_ = 0;
  size_t busy_ = 0;
  bool closed_ = false;
  uint64_t faultSequence_ = UINT64_MAX;
  std::exception_ptr fault_;
};

} // namespace berth::unsquash
