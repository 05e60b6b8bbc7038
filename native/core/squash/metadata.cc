// SPDX-License-Identifier: Apache-2.0
#include "metadata.hh"

#include <algorithm>
#include <array>

namespace berth::squash {

void MetadataTable::pack() {
  blocks_.push_back(drained_ + out_.size());
  std::array<uint8_t, METADATA_SIZE> packed;
  const size_t size = codec_.compress(raw_, std::span(packed).first(raw_.size() - 1));
  if (size > 0)
    Fields(out_).u16(size).bytes(packed.data(), size);
  else
    Fields(out_).u16(raw_.size() | METADATA_RAW).bytes(raw_.data(), raw_.size());
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
  auto done = output.append(out_);
  drained_ += out_.size();
  out_.clear();
  return done;
}

Result<uint64_t> writeLookup(Output &output, Codec &codec, const Bytes &records) {
  const uint64_t start = output.position();
  MetadataTable table(codec);
  table.append(records);
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
