// SPDX-License-Identifier: Apache-2.0
#include "listing.hh"

namespace berth::squash {

void Listing::flush() {
  if (count_ == 0)
    return;
  if (size_ - indexed_ >= METADATA_SIZE && index_.size() < INDEX_MAX) {
    index_.push_back({uint32_t(size_), uint32_t(table_.here().block), first_});
    indexed_ = size_;
  }
  Bytes header;
  Fields(header).u32(count_ - 1).u32(block_).u32(number_);
  table_.append(header);
  table_.append(entries_);
  size_ += header.size() + entries_.size();
  entries_.clear();
  count_ = 0;
}

void Listing::add(std::string_view name, uint8_t type, uint32_t number, uint32_t block, uint16_t offset) {
  const int64_t delta = int64_t{number} - number_;
  // A long listing starts a new header about once a metadata block, so that the index can point at it.
  const bool indexable = size_ + entries_.size() - indexed_ >= METADATA_SIZE;
  if (count_ == RUN_MAX || block != block_ || delta != int16_t(delta) || (indexable && count_ > 0))
    flush();
  if (count_ == 0) {
    first_ = name;
    block_ = block;
    number_ = number;
  }
  count_++;
  Fields(entries_)
      .u16(offset)
      .u16(uint16_t(number - number_))
      .u16(type)
      .u16(name.size() - 1)
      .bytes(name.data(), name.size());
}

void Listing::close() { flush(); }

} // namespace berth::squash
