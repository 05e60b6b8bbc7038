// SPDX-License-Identifier: Apache-2.0
/**
 * Metadata: a stream of records cut into blocks of 8 KiB, each compressed on its own. A table is addressed by
 * its *linear* position: index of the block * 8192 + offset, as if it were unpacked in one piece.
 */
#pragma once

#include "read_source.hh"
#include "read_unpack.hh"

#include <array>
#include <vector>

namespace berth::unsquash {

struct MetaTable {
  std::string_view name;
  /** Image offset of the first block. */
  uint64_t start = 0;
  /** Of each block, relative to start; the table has no gaps and ends where the last block ends. */
  std::vector<uint32_t> blocks;
  uint64_t end = 0;

  /** At least every byte of it: the last block may be shorter. */
  uint64_t capacity() const { return blocks.size() * uint64_t{kMetaSize}; }
  /** Translates a reference (block position relative to start, offset in it); throws when there is no such
   * block. */
  uint64_t linear(uint64_t block, uint32_t offset) const;
};

/** Walks the block headers from `start`; they must tile the range to `end` exactly. Throws over
 * `capacityMax`. */
MetaTable scanTable(const Source &source, std::string_view name, uint64_t start, uint64_t end,
                    uint64_t capacityMax);

/** Reads a table; keeps one block unpacked, so that sequential reading unpacks each block once. */
class MetaCursor {
public:
  MetaCursor(const Source &source, const MetaTable &table, Unpacker &unpacker)
      : source_(source), table_(table), unpacker_(unpacker) {}

  void seek(uint64_t linear);
  uint64_t position() const { return block_ * uint64_t{kMetaSize} + offset_; }
  bool atEnd();
  void read(std::span<uint8_t> to);
  void skip(uint64_t bytes);
  uint16_t u16();
  uint32_t u32();
  uint64_t u64();
  std::string string(size_t length);
  /** Refuses with the image offset of the current block and the offset inside it. */
  [[noreturn]] void refuse(std::string_view problem) const;

private:
  /** Moves from the end of a full block to the start of the next. */
  void settle();
  /** Makes bytes available at offset_. */
  void fill();
  void load();

  const Source &source_;
  const MetaTable &table_;
  Unpacker &unpacker_;
  size_t block_ = 0;
  uint32_t offset_ = 0;
  size_t loaded_ = SIZE_MAX;
  uint32_t length_ = 0;
  std::array<uint8_t, kMetaSize> data_;
};

} // namespace berth::unsquash
