// SPDX-License-Identifier: Apache-2.0
/** Marks programs and libraries that ask for one of some libraries, as they are stored. */
#pragma once

#include "elf.hh"

#include "../squash/content_watch.hh"

namespace berth::elf {

/**
 * Keeps the beginning of a content that passes, where nearly all have their headers and names, and the first
 * other piece that the reader misses in it: the dynamic section, which stands near the end. Who needs more is
 * marked.
 */
class NeededWatch final : public squash::ContentWatch {
public:
  /** Enough for all but one of 300 libraries of a Debian to be judged by. */
  static constexpr size_t kHead = 128 * 1024;

  /** `prefixes`: of the names that are asked for; `head`: bytes that are kept from the beginning. */
  explicit NeededWatch(std::vector<std::string> prefixes, size_t head = kHead)
      : prefixes_(std::move(prefixes)), headMax_(head) {}

  void begin(uint64_t size) override;
  void data(uint64_t position, std::span<const uint8_t> bytes) override;
  bool end() override;

private:
  struct Missed {
    uint64_t offset = 0;
    size_t size = 0;
  };
  class Kept;

  void keepHead(std::span<const uint8_t> bytes);
  void keepPiece(uint64_t position, std::span<const uint8_t> bytes);
  /** What is told by what was kept; otherwise the piece that was missed is next. */
  void look();

  enum class State : uint8_t { open, marked, plain };
  const std::vector<std::string> prefixes_;
  const size_t headMax_;
  State state_ = State::plain;
  uint64_t size_ = 0;
  std::vector<uint8_t> head_;
  Missed missed_;
  /** The first bytes of what was missed. */
  std::vector<uint8_t> piece_;
};

} // namespace berth::elf
