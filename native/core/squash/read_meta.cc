// SPDX-License-Identifier: Apache-2.0
#include "read_meta.hh"

#include <algorithm>

namespace berth::unsquash {

uint64_t MetaTable::linear(uint64_t block, uint32_t offset) const {
  const auto found = std::ranges::lower_bound(blocks, block, {}, [](uint32_t b) { return uint64_t{b}; });
  if (found == blocks.end() || *found != block)
    refuse(name, start, "a reference to block " + std::to_string(block) + ", where none starts");
  if (offset >= kMetaSize)
    refuse(name, start + block, "a reference to offset " + std::to_string(offset) + " of a block");
  return static_cast<uint64_t>(found - blocks.begin()) * kMetaSize + offset;
}

MetaTable scanTable(const Source &source, std::string_view name, uint64_t start, uint64_t end,
                    uint64_t capacityMax) {
  // Directory headers point into the inode table with 32 bits, directory inodes likewise.
  if (start > end || end - start > UINT32_MAX)
    refuse(name, start, "ends at byte " + std::to_string(end));
  MetaTable table{.name = name, .start = start, .blocks = {}, .end = end};
  for (uint64_t position = start; position < end;) {
    std::array<uint8_t, 2> header;
    if (end - position < header.size())
      refuse(name, position, "the last block is cut off");
    source.read(position, header);
    const uint32_t length = le16(header.data()) & (kMetaStored - 1);
    if (length == 0 || length > kMetaSize)
      refuse(name, position, "block of " + std::to_string(length) + " bytes");
    if (length > end - position - header.size())
      refuse(name, position, "a block reaches beyond the table");
    table.blocks.push_back(static_cast<uint32_t>(position - start));
    if (table.capacity() > capacityMax)
      overLimit(std::string(name) + " (bytes unpacked)", table.capacity(), capacityMax);
    position += header.size() + length;
  }
  return table;
}

void MetaCursor::refuse(std::string_view problem) const {
  const uint64_t at = block_ < table_.blocks.size() ? table_.start + table_.blocks[block_] : table_.end;
  unsquash::refuse(table_.name, at,
                   "offset " + std::to_string(offset_) + " of the block: " + std::string(problem));
}

void MetaCursor::seek(uint64_t linear) {
  block_ = linear / kMetaSize;
  offset_ = linear % kMetaSize;
}

void MetaCursor::load() {
  std::array<uint8_t, 2 + kMetaSize> raw;
  const uint64_t at = table_.start + table_.blocks[block_];
  const bool last = block_ + 1 == table_.blocks.size();
  const uint64_t next = last ? table_.end : table_.start + table_.blocks[block_ + 1];
  const auto whole = std::span(raw).first(next - at);
  source_.read(at, whole);
  // Read again: the file may have changed since the table was scanned.
  const uint16_t header = le16(raw.data());
  const auto packed = whole.subspan(2);
  if ((header & (kMetaStored - 1)) != packed.size())
    unsquash::refuse(table_.name, at, "the block changed while it was read");
  if ((header & kMetaStored) != 0) {
    std::ranges::copy(packed, data_.begin());
    length_ = static_cast<uint32_t>(packed.size());
  } else {
    length_ = static_cast<uint32_t>(unpacker_.unpack(packed, data_));
    if (length_ == 0)
      unsquash::refuse(table_.name, at, "the block cannot be decompressed");
  }
  if (!last && length_ != kMetaSize)
    unsquash::refuse(table_.name, at, "a block of " + std::to_string(length_) + " bytes before the last one");
  loaded_ = block_;
}

void MetaCursor::settle() {
  if (offset_ < kMetaSize)
    return;
  block_++;
  offset_ = 0;
}

void MetaCursor::fill() {
  settle();
  if (block_ < table_.blocks.size() && loaded_ != block_)
    load();
  if (block_ >= table_.blocks.size() || offset_ >= length_)
    refuse("the table ends inside a record");
}

bool MetaCursor::atEnd() {
  settle();
  if (block_ + 1 < table_.blocks.size())
    return false;
  if (block_ < table_.blocks.size() && loaded_ != block_)
    load();
  return block_ >= table_.blocks.size() || offset_ >= length_;
}

void MetaCursor::read(std::span<uint8_t> to) {
  while (!to.empty()) {
    fill();
    const size_t step = std::min<size_t>(to.size(), length_ - offset_);
    std::copy_n(data_.begin() + offset_, step, to.begin());
    offset_ += static_cast<uint32_t>(step);
    to = to.subspan(step);
  }
}

void MetaCursor::skip(uint64_t bytes) {
  while (bytes > 0) {
    fill();
    const uint64_t step = std::min<uint64_t>(bytes, length_ - offset_);
    offset_ += static_cast<uint32_t>(step);
    bytes -= step;
  }
}

uint16_t MetaCursor::u16() {
  std::array<uint8_t, 2> raw;
  read(raw);
  return le16(raw.data());
}

uint32_t MetaCursor::u32() {
  std::array<uint8_t, 4> raw;
  read(raw);
  return le32(raw.data());
}

uint64_t MetaCursor::u64() {
  std::array<uint8_t, 8> raw;
  read(raw);
  return le64(raw.data());
}

std::string MetaCursor::string(size_t length) {
  std::string text(length, '\0');
  read(std::span(reinterpret_cast<uint8_t *>(text.data()), length));
  return text;
}

} // namespace berth::unsquash
