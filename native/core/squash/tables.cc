// SPDX-License-Identifier: Apache-2.0
#include "tables.hh"

#include <bit>

namespace berth::squash {

Result<uint64_t> Tables::write() {
  findLive();
  Inode &root = parts_.tree.inode(parts_.tree.node(Tree::ROOT).inode);
  root.number = ++count_;
  root.nlink = 2;
  newest_ = root.mtime;
  if (auto done = walk(false); !done)
    return done.error();
  exports_.assign(8 * size_t{count_}, 0);
  inodeStart_ = parts_.output.position();
  if (auto done = walk(true); !done)
    return done.error();
  if (auto done = writeTables(); !done)
    return done.error();
  return writeSuper();
}

/** In the order that the kernel insists on (fs/squashfs/super.c). */
Result<> Tables::writeTables() {
  Output &output = parts_.output;
  inodes_.close();
  if (auto done = inodes_.drain(output); !done)
    return done;
  directoryStart_ = output.position();
  directories_.close();
  if (auto done = directories_.drain(output); !done)
    return done;
  if (auto done = writeFragments(); !done)
    return done;
  MetadataTable exported(parts_.codec, parts_.chunks);
  for (size_t i = 0; i < exports_.size(); i += exports_.run(i).size())
    exported.append(exports_.run(i));
  exports_.clear();
  auto exports = writeLookup(output, exported);
  if (!exports)
    return exports.error();
  exportStart_ = *exports;
  Bytes ids;
  for (const uint32_t id : parts_.owners.ids())
    Fields(ids).u32(parts_.ownersToRoot ? 0 : id);
  auto owners = writeLookup(output, parts_.codec, parts_.chunks, ids);
  if (!owners)
    return owners.error();
  idStart_ = *owners;
  return writeXattrs();
}

Result<> Tables::writeFragments() {
  if (parts_.line.fragments().empty())
    return Nothing{};
  Bytes records;
  for (const auto &fragment : parts_.line.fragments())
    Fields(records).u64(fragment.start).u32(fragment.size).u32(0);
  auto start = writeLookup(parts_.output, parts_.codec, parts_.chunks, records);
  if (!start)
    return start.error();
  fragmentStart_ = *start;
  return Nothing{};
}

Result<> Tables::writeXattrs() {
  const Xattrs &sets = parts_.xattrs;
  if (sets.size() == 0)
    return Nothing{};
  Output &output = parts_.output;
  const uint64_t start = output.position();
  MetadataTable records(parts_.codec, parts_.chunks), table(parts_.codec, parts_.chunks);
  for (size_t i = 0; i < sets.size(); i++) {
    const Xattrs::Set &set = sets[i];
    const auto here = records.here();
    Bytes id;
    Fields(id).u64(here.block << 16 | here.offset).u32(set.count).u32(set.size);
    table.append(id);
    sets.records(set, [&](std::span<const uint8_t> piece) { records.append(piece); });
  }
  records.close();
  if (auto done = records.drain(output); !done)
    return done;
  // Unlike the other tables, this list of blocks has a header, and the superblock points at it.
  table.close();
  const uint64_t tableStart = output.position();
  if (auto done = table.drain(output); !done)
    return done;
  xattrStart_ = output.position();
  Bytes list;
  Fields(list).u64(start).u32(sets.size()).u32(0);
  for (const uint64_t block : table.blocks())
    Fields(list).u64(tableStart + block);
  return output.append(list);
}

Result<uint64_t> Tables::writeSuper() {
  Output &output = parts_.output;
  const uint64_t used = output.position();
  const Bytes padding((IMAGE_ALIGN - used % IMAGE_ALIGN) % IMAGE_ALIGN);
  if (auto done = output.append(padding); !done)
    return done.error();
  if (auto done = output.flush(); !done)
    return done.error();
  const Inode &root = parts_.tree.inode(parts_.tree.node(Tree::ROOT).inode);
  uint16_t flags = FLAG_DUPLICATES | FLAG_EXPORTABLE;
  if (xattrStart_ == NO_TABLE)
    flags |= FLAG_NO_XATTRS;
  if (parts_.hasOptions)
    flags |= FLAG_OPTIONS;
  if (parts_.compressor == Compressor::none)
    flags |= FLAG_RAW_INODES | FLAG_RAW_DATA | FLAG_RAW_FRAGMENTS;
  Bytes super;
  Fields fields(super);
  // The time is that of the newest entry: a clock would make each conversion another file.
  fields.u32(SUPER_MAGIC).u32(count_).u32(newest_).u32(parts_.blockSize).u32(parts_.line.fragments().size());
  fields.u16(compressorNumber(parts_.compressor)).u16(std::countr_zero(parts_.blockSize)).u16(flags);
  fields.u16(parts_.owners.ids().size()).u16(4).u16(0);
  fields.u64(uint64_t{root.block} << 16 | root.blockOffset).u64(used).u64(idStart_).u64(xattrStart_);
  fields.u64(inodeStart_).u64(directoryStart_).u64(fragmentStart_).u64(exportStart_);
  if (auto done = output.writeAt(0, super); !done)
    return done.error();
  return used + padding.size();
}

} // namespace berth::squash
