// SPDX-License-Identifier: Apache-2.0
/** A table of metadata blocks: 8 KiB each before compression, addressed by block position and offset within.
 */
#pragma once

#include <span>

#include "chunks.hh"
#include "codec.hh"
#include "format.hh"
#include "output.hh"

namespace berth::squash {

class MetadataTable {
public:
  struct Reference {
    /** Of the block, from the table's start; of the record within the unpacked block. */
    uint64_t block;
    uint16_t offset;
  };

  MetadataTable(Codec &codec, Chunks &chunks) : codec_(codec), out_(chunks) { raw_.reserve(METADATA_SIZE); }

  /** Where the next record will begin. */
  Reference here() const { return {drained_ + out_.size(), uint16_t(raw_.size())}; }
  void append(std::span<const uint8_t> bytes);
  /** Ends the table. */
  void close();
  /** Moves finished blocks to the file, which must be the table's place. */
  Result<> drain(Output &output);
  size_t pending() const { return out_.size(); }
  /** Positions of all blocks, from the table's start. */
  const std::vector<uint64_t> &blocks() const { return blocks_; }

private:
  void pack();

  Codec &codec_;
  Bytes raw_;
  Arena<uint8_t> out_;
  uint64_t drained_ = 0;
  std::vector<uint64_t> blocks_;
};

/** Ends and writes a table of fixed-size records and the list of its blocks' positions; answers the list's
 * position.
 */
Result<uint64_t> writeLookup(Output &output, MetadataTable &table);
Result<uint64_t> writeLookup(Output &output, Codec &codec, Chunks &chunks, const Bytes &records);

} // namespace berth::squash
