// SPDX-License-Identifier: Apache-2.0
#include "metadata.hh"

#include <algorithm>
#include <array>

namespace berth::squash {

void MetadataTable::pack() {
  blocks_.push_back(drained_ + out_.size());
  std::array<uint8_t, METADATA_SIZE> packed;
  const size_t size = codec_.compress(raw_, std::span(packed).first(raw_.size() - 1));
  Bytes head;
  Fields(head).u16(size > 0 ? size : raw_.size() | METADATA_RAW);
  out_.append(head);
  out_.append(size > 0 ? std::span<const uint8_t>(packed).first(size) : std::span<const uint8_t>(raw_));
  raw_.clear();
}

void MetadataTable::append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), METADATA_SIZE - raw_.size());
    raw_.insert(raw_.end(), bytes.begin(), bytes.begin() + ptrdiff_t(part));
    bytes = bytes.subspan(part);
    if (raw_.size() == METADATA_SIZE)
      pack();
  }
}

void MetadataTable::close() {
  if (!raw_.empty())
    pack();
}

Result<> MetadataTable::drain(Output &output) {
  for (size_t i = 0; i < out_.size();) {
    const auto run = out_.run(i);
    if (auto done = output.append(run); !done)
      return done;
    i += run.size();
  }
  drained_ += out_.size();
  out_.clear();
  return Nothing{};
}

Result<uint64_t> writeLookup(Output &output, Codec &codec, Chunks &chunks, const Bytes &records) {
  MetadataTable table(codec, chunks);
  table.append(records);
  return writeLookup(output, table);
}

Result<uint64_t> writeLookup(Output &output, MetadataTable &table) {
  const uint64_t start = output.position();
  table.close();
  if (auto done = table.drain(output); !done)
    return done.error();
  const uint64_t list = output.position();
  Bytes positions;
  for (const uint64_t block : table.blocks())
    Fields(positions).u64(start + block);
  if (auto done = output.append(positions); !done)
    return done.error();
  return list;
}

} // namespace berth::squash
