// SPDX-License-Identifier: Apache-2.0
/** The names of one directory as the directory table holds them, with an index when it is long. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metadata.hh"

namespace berth::squash {

class Listing {
public:
  struct IndexEntry {
    /** Offset of a header in the listing, and the table's block in which it lies. */
    uint32_t offset;
    uint32_t block;
    std::string name;
  };

  explicit Listing(MetadataTable &table) : table_(table), start_(table.here()) {}

  /** In the byte order of names. `block` and `offset` are where the inode is. */
  void add(std::string_view name, uint8_t type, uint32_t number, uint32_t block, uint16_t offset);
  void close();

  MetadataTable::Reference start() const { return start_; }
  uint64_t size() const { return size_; }
  const std::vector<IndexEntry> &index() const { return index_; }

private:
  /** fs/squashfs: a header speaks of up to 256 names, an index entry of about one metadata block. */
  static constexpr unsigned RUN_MAX = 256;
  static constexpr size_t INDEX_MAX = 65535;

  void flush();

  MetadataTable &table_;
  MetadataTable::Reference start_;
  Bytes entries_;
  std::string first_;
  uint32_t count_ = 0, block_ = 0, number_ = 0;
  uint64_t size_ = 0, indexed_ = 0;
  std::vector<IndexEntry> index_;
};

} // namespace berth::squash
