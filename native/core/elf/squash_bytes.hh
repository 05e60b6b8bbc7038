// SPDX-License-Identifier: Apache-2.0
/** A file inside a squashfs as bytes, with the few blocks kept that a reader of ELF goes back and forth
 * between. */
#pragma once

#include "bytes.hh"

#include "../squash/reader.hh"

#include <algorithm>
#include <array>
#include <vector>

namespace berth::elf {

class SquashBytes final : public Bytes {
public:
  /** Borrows both. */
  SquashBytes(unsquash::Image &image, const unsquash::Inode &inode)
      : image_(image), inode_(inode), blockSize_(image.super().blockSize) {}

  uint64_t size() const override { return inode_.size; }

  bool read(uint64_t offset, std::span<uint8_t> to) override {
    if (!holds(offset, to.size()))
      return false;
    // A whole table is read at once and only once.
    if (to.size() > blockSize_) {
      const auto got = image_.read(inode_, offset, to);
      return got && *got == to.size();
    }
    while (!to.empty()) {
      const auto *block = blockAt(offset / blockSize_);
      const uint64_t within = offset % blockSize_;
      if (block == nullptr || within >= block->size())
        return false;
      const size_t step = std::min<uint64_t>(to.size(), block->size() - within);
      std::memcpy(to.data(), block->data() + within, step);
      to = to.subspan(step);
      offset += step;
    }
    return true;
  }

private:
  /** Headers, dynamic section, names: three places. */
  static constexpr size_t kKept = 3;
  struct Kept {
    uint64_t index = UINT64_MAX;
    std::vector<uint8_t> content;
  };

  const std::vector<uint8_t> *blockAt(uint64_t index) {
    for (const Kept &kept : kept_)
      if (kept.index == index)
        return &kept.content;
    Kept &kept = kept_[next_++ % kKept];
    kept.index = UINT64_MAX;
    kept.content.resize(std::min<uint64_t>(blockSize_, inode_.size - index * blockSize_));
    const auto got = image_.read(inode_, index * blockSize_, kept.content);
    if (!got || *got != kept.content.size())
      return nullptr;
    kept.index = index;
    return &kept.content;
  }

  unsquash::Image &image_;
  const unsquash::Inode &inode_;
  const uint64_t blockSize_;
  std::array<Kept, kKept> kept_;
  size_t next_ = 0;
};

} // namespace berth::elf
