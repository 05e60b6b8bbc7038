// SPDX-License-Identifier: Apache-2.0
#include "verify_data.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

constexpr unsigned kThreadsMax = 64;
/** Waiting runs per thread: enough to bridge a slow read, under 1 KiB each. */
constexpr size_t kQueuePerThread = 4;

std::string ownerName(const DataRun &run) {
  return (run.fragmentLength != nullptr ? "fragment " : "data of inode ") + std::to_string(run.owner);
}

} // namespace

/** What one thread needs. */
struct DataChecker::Worker {
  Unpacker unpacker;
  std::vector<uint8_t> in = std::vector<uint8_t>(kRunBytesMax);
  std::vector<uint8_t> out;

  explicit Worker(const Super &super) : unpacker(super.compressor, super.blockSize), out(super.blockSize) {}

  void check(const Source &source, const DataRun &run) {
    source.read(run.start, std::span(in).first(run.bytes));
    size_t offset = 0;
    for (size_t i = 0; i < run.words.size(); i++) {
      const uint32_t size = run.words[i] & kDataSizeMask;
      // A stored block was compared by its size word already.
      if ((run.words[i] & kDataStored) == 0) {
        const size_t length = unpacker.unpack(std::span(in).subspan(offset, size), out);
        const size_t expected = i + 1 == run.words.size() ? run.lastLength : out.size();
        if (length == 0)
          refuse(ownerName(run), run.start + offset, "the block cannot be decompressed");
        if (run.fragmentLength != nullptr)
          *run.fragmentLength = static_cast<uint32_t>(length);
        else if (length != expected)
          refuse(ownerName(run), run.start + offset,
                 "a block of " + std::to_string(length) + " bytes instead of " + std::to_string(expected));
      }
      offset += size;
    }
  }
};

DataChecker::DataChecker(const Source &source, const Layout &layout, const Limits &limits)
    : source_(source), layout_(layout), bytesMax_(limits.bytesMax),
      own_(std::make_unique<Worker>(layout.super)) {
  if (limits.threads < 2)
    return;
  try {
    for (unsigned i = 0; i < std::min(limits.threads, kThreadsMax); i++)
      threads_.emplace_back([this] { work(); });
  } catch (const std::system_error &) {
    // Fewer threads than asked for are slower, not wrong; none at all means the caller's own.
  }
}

DataChecker::~DataChecker() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  for (auto &thread : threads_)
    thread.join();
}

void DataChecker::check(DataRun run) {
  const uint64_t unpacked = (run.words.size() - 1) * uint64_t{layout_.super.blockSize} +
                            (run.fragmentLength != nullptr ? layout_.super.blockSize : run.lastLength);
  bytes_ += unpacked;
  if (bytes_ > bytesMax_)
    overLimit("bytes unpacked", bytes_, bytesMax_);
  const bool stored = std::ranges::all_of(run.words, [](uint32_t word) { return (word & kDataStored) != 0; });
  if (stored) {
    if (run.fragmentLength != nullptr)
      *run.fragmentLength = run.bytes;
    return;
  }
  if (threads_.empty()) {
    own_->check(source_, run);
    return;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return queue_.size() < threads_.size() * kQueuePerThread || fault_ != nullptr; });
  if (fault_ != nullptr) {
    lock.unlock();
    finish();
  }
  queue_.emplace_back(sequence_++, std::move(run));
  lock.unlock();
  changed_.notify_all();
}

void DataChecker::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (queue_.empty() || fault_ != nullptr) && busy_ == 0; });
  if (fault_ != nullptr)
    std::rethrow_exception(fault_);
}

void DataChecker::noteFault(uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  if (sequence >= faultSequence_)
    return;
  faultSequence_ = sequence;
  fault_ = std::current_exception();
}

void DataChecker::work() {
  std::unique_ptr<Worker> worker;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closed_ || (!queue_.empty() && fault_ == nullptr); });
    if (closed_)
      return;
    auto [sequence, run] = std::move(queue_.front());
    queue_.pop_front();
    busy_++;
    lock.unlock();
    changed_.notify_all();
    try {
      if (worker == nullptr)
        worker = std::make_unique<Worker>(layout_.super);
      worker->check(source_, run);
    } catch (...) {
      noteFault(sequence);
    }
    lock.lock();
    busy_--;
    changed_.notify_all();
  }
}

} // namespace berth::unsquash
