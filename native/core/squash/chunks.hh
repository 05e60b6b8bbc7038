// SPDX-License-Identifier: Apache-2.0
/**
 * Memory for tables that grow with the number of entries, in pieces of one size. The first HEAP_MAX bytes are
 * the process's own; what an image of millions of files needs beyond is a mapping of the file being written,
 * far behind its end, so that the kernel can write it out and take the pages back. cut() takes it away again.
 */
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "gate.hh"
#include "output.hh"

namespace berth::squash {

class Chunks {
public:
  static constexpr size_t CHUNK_SIZE = 1 << 20;
  /** Ordinary images (a hundred thousand entries) never need more. */
  static constexpr size_t HEAP_MAX = 16 << 20;

  /** All of it in the process's own memory. */
  Chunks() = default;
  /** The first `ownMax` bytes are memory of its own; a full disk stops `gate`. */
  Chunks(Gate &gate, Output &output, size_t ownMax) : gate_(&gate), output_(&output), ownMax_(ownMax) {}
  ~Chunks();
  Chunks(const Chunks &) = delete;
  Chunks &operator=(const Chunks &) = delete;

  /** CHUNK_SIZE bytes of any content. */
  uint8_t *take();
  void giveBack(uint8_t *chunk) { free_.push_back(chunk); }
  /** The file ends at `size`; all chunks are gone. */
  Result<> cut(uint64_t size);

private:
  uint8_t *map();
  uint8_t *own();
  void unmap();

  Gate *gate_ = nullptr;
  Output *output_ = nullptr;
  size_t ownMax_ = SIZE_MAX;
  uint64_t base_ = 0;
  std::vector<std::unique_ptr<uint8_t[]>> owned_;
  std::vector<uint8_t *> mapped_, free_;
};

/** A vector whose elements never move, in chunks. */
template <typename T> class Arena {
public:
  explicit Arena(Chunks &chunks) : chunks_(&chunks) {}
  ~Arena() { clear(); }
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  T &operator[](size_t i) { return of(i >> SHIFT)[i & MASK]; }
  const T &operator[](size_t i) const { return of(i >> SHIFT)[i & MASK]; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T &front() { return (*this)[0]; }
  T &add(const T &value) {
    if (size_ >> SHIFT == parts_.size())
      parts_.push_back(chunks_->take());
    return *new (&(*this)[size_++]) T(value);
  }
  void append(std::span<const T> values) {
    while (!values.empty()) {
      if (size_ >> SHIFT == parts_.size())
        parts_.push_back(chunks_->take());
      const size_t part = std::min(values.size(), (MASK + 1) - (size_ & MASK));
      std::ranges::copy(values.first(part), of(size_ >> SHIFT) + (size_ & MASK));
      size_ += part;
      values = values.subspan(part);
    }
  }
  /** `count` times `value`, and nothing else. */
  void assign(size_t count, const T &value) {
    clear();
    while (size_ < count)
      add(value);
  }
  void clear() {
    for (auto *part : parts_)
      chunks_->giveBack(part);
    parts_.clear();
    size_ = 0;
  }
  void swap(Arena &other) {
    std::swap(chunks_, other.chunks_);
    std::swap(parts_, other.parts_);
    std::swap(size_, other.size_);
  }
  /** Elements from `i` to the end of their chunk. */
  std::span<const T> run(size_t i) const {
    return {&(*this)[i], std::min(size_ - i, (MASK + 1) - (i & MASK))};
  }

private:
  static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);
  static constexpr unsigned SHIFT = std::bit_width(Chunks::CHUNK_SIZE / sizeof(T)) - 1;
  static constexpr size_t MASK = (size_t{1} << SHIFT) - 1;

  T *of(size_t part) const { return reinterpret_cast<T *>(parts_[part]); }

  Chunks *chunks_;
  std::vector<uint8_t *> parts_;
  size_t size_ = 0;
};

} // namespace berth::squash
