// SPDX-License-Identifier: Apache-2.0
/** Where an ELF file's bytes come from: memory, a descriptor, or a file inside a squashfs. */
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <unistd.h>

namespace berth::elf {

class Bytes {
public:
  virtual ~Bytes() = default;
  virtual uint64_t size() const = 0;
  /** All of `to` from `offset`; false when that is not there. */
  virtual bool read(uint64_t offset, std::span<uint8_t> to) = 0;

protected:
  bool holds(uint64_t offset, uint64_t count) const { return offset <= size() && count <= size() - offset; }
};

class MemoryBytes final : public Bytes {
public:
  explicit MemoryBytes(std::span<const uint8_t> memory) : memory_(memory) {}
  uint64_t size() const override { return memory_.size(); }
  bool read(uint64_t offset, std::span<uint8_t> to) override {
    if (!holds(offset, to.size()))
      return false;
    if (!to.empty())
      std::memcpy(to.data(), memory_.data() + offset, to.size());
    return true;
  }

private:
  std::span<const uint8_t> memory_;
};

/** Borrows the descriptor. */
class FileBytes final : public Bytes {
public:
  FileBytes(int fd, uint64_t size) : fd_(fd), size_(size) {}
  uint64_t size() const override { return size_; }
  bool read(uint64_t offset, std::span<uint8_t> to) override {
    while (!to.empty()) {
      const ssize_t got = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
      if (got <= 0)
        return false;
      offset += static_cast<uint64_t>(got);
      to = to.subspan(static_cast<size_t>(got));
    }
    return true;
  }

private:
  int fd_;
  uint64_t size_;
};

} // namespace berth::elf
