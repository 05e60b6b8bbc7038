// SPDX-License-Identifier: Apache-2.0
#include "read_layout.hh"

namespace berth::unsquash {
namespace {

constexpr uint32_t kIdSize = 4;
constexpr uint32_t kXattrHeaderSize = 16;

/** Image offsets around a lookup table's index: its blocks end, (a header), the index itself. */
struct Index {
  uint64_t blocksEnd;
  uint64_t start;
  uint64_t end;
};

Lookup scanLookup(const Source &source, std::string_view name, Index at, uint64_t count, uint32_t recordSize,
                  const Limits &limits) {
  const uint64_t bytes = count * recordSize;
  if (bytes > limits.tableBytesMax)
    overLimit(std::string(name) + " (bytes)", bytes, limits.tableBytesMax);
  const uint64_t blocks = (bytes + kMetaSize - 1) / kMetaSize;
  if (at.start > at.end || at.end - at.start != blocks * sizeof(uint64_t))
    refuse(name, at.start, "its index should end at byte " + std::to_string(at.end));
  std::vector<uint8_t> index(blocks * sizeof(uint64_t));
  source.read(at.start, index);
  const uint64_t first = le64(index.data());
  Lookup lookup{.table = scanTable(source, name, first, at.blocksEnd, limits.tableBytesMax),
                .count = static_cast<uint32_t>(count)};
  if (lookup.table.blocks.size() != blocks)
    refuse(name, first,
           std::to_string(lookup.table.blocks.size()) + " blocks for " + std::to_string(count) + " records");
  for (size_t i = 0; i < blocks; i++)
    if (le64(&index[i * sizeof(uint64_t)]) != first + lookup.table.blocks[i])
      refuse(name, at.start + i * sizeof(uint64_t), "the index does not point to a block");
  return lookup;
}

/** Scans both xattr tables; answers where the tables before them end. */
uint64_t scanXattrs(const Source &source, Layout &layout, const Limits &limits) {
  const Super &super = layout.super;
  if (super.xattrTable == kNoTable)
    return super.bytesUsed;
  constexpr std::string_view name = "xattr id table";
  std::array<uint8_t, kXattrHeaderSize> header;
  if (super.bytesUsed - super.xattrTable < header.size())
    refuse(name, super.xattrTable, "its header is cut off");
  source.read(super.xattrTable, header);
  const uint64_t start = le64(&header[0]);
  const uint32_t count = le32(&header[8]);
  if (count == 0)
    refuse(name, super.xattrTable, "no records");
  if (count > limits.entriesMax)
    overLimit("xattr sets", count, limits.entriesMax);
  layout.xattrIds =
      scanLookup(source, name, {super.xattrTable, super.xattrTable + header.size(), super.bytesUsed}, count,
                 kXattrIdSize, limits);
  layout.xattrs = scanTable(source, "xattr table", start, layout.xattrIds.table.start, limits.tableBytesMax);
  return start;
}

std::vector<uint32_t> readIds(const Source &source, const Lookup &lookup, const Super &super) {
  Unpacker unpacker(super.compressor, super.blockSize);
  MetaCursor cursor(source, lookup.table, unpacker);
  std::vector<uint32_t> ids(lookup.count);
  for (uint32_t &id : ids) {
    id = cursor.u32();
    if (id == kNone) // (uid_t)-1 is no id
      cursor.refuse("id 4294967295");
  }
  if (!cursor.atEnd())
    cursor.refuse("bytes after the last id");
  return ids;
}

} // namespace

Layout readLayout(const Source &source, const Limits &limits) {
  Layout layout;
  layout.super = readSuper(source);
  const Super &super = layout.super;
  if (super.inodes > limits.entriesMax)
    overLimit("inodes", super.inodes, limits.entriesMax);
  if (super.fragments > limits.entriesMax)
    overLimit("fragments", super.fragments, limits.entriesMax);

  uint64_t next = scanXattrs(source, layout, limits);
  const Lookup ids =
      scanLookup(source, "id table", {super.idTable, super.idTable, next}, super.ids, kIdSize, limits);
  next = ids.table.start;
  if (super.exportTable != kNoTable) {
    layout.exports = scanLookup(source, "export table", {super.exportTable, super.exportTable, next},
                                super.inodes, kExportSize, limits);
    next = layout.exports.table.start;
  }
  if (super.fragments != 0) {
    layout.fragments = scanLookup(source, "fragment table", {super.fragmentTable, super.fragmentTable, next},
                                  super.fragments, kFragmentSize, limits);
    next = layout.fragments.table.start;
  }
  layout.directories = scanTable(source, "directory table", super.directoryTable, next, limits.tableBytesMax);
  layout.inodes =
      scanTable(source, "inode table", super.inodeTable, super.directoryTable, limits.tableBytesMax);
  layout.ids = readIds(source, ids, super);
  return layout;
}

Fragment readFragment(MetaCursor &cursor, const Super &super) {
  const Fragment fragment{.start = cursor.u64(), .size = cursor.u32()};
  cursor.skip(sizeof(uint32_t)); // unused, and not always written as zero
  const uint32_t bytes = fragment.size & kDataSizeMask;
  if ((fragment.size & ~(kDataStored | kDataSizeMask)) != 0 || bytes == 0 || bytes > super.blockSize)
    cursor.refuse("fragment with size word " + std::to_string(fragment.size));
  if (fragment.start < super.dataStart || fragment.start > super.inodeTable ||
      bytes > super.inodeTable - fragment.start)
    cursor.refuse("fragment at byte " + std::to_string(fragment.start) + " is outside the data");
  return fragment;
}

} // namespace berth::unsquash
