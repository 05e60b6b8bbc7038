// SPDX-License-Identifier: Apache-2.0
#include "tables.hh"

#include <algorithm>

namespace berth::squash {

void Tables::header(Bytes &record, const Inode &inode, bool extended) const {
  Fields(record)
      .u16(uint16_t(inode.type) + (extended ? EXTENDED : 0))
      .u16(inode.mode)
      .u16(inode.uid)
      .u16(inode.gid)
      .u32(inode.mtime)
      .u32(inode.number);
}

void Tables::place(Inode &inode, const Bytes &record) {
  const auto here = inodes_.here();
  inode.block = uint32_t(here.block);
  inode.blockOffset = here.offset;
  inodes_.append(record);
  Bytes reference;
  Fields(reference).u64(here.block << 16 | here.offset);
  std::ranges::copy(reference, &exports_[8 * size_t{inode.number - 1}]);
}

void Tables::writeDirInode(Inode &inode, uint32_t parent, const Listing &listing) {
  // "." and ".." count as three bytes of which the table holds none (fs/squashfs/dir.c).
  const uint64_t size = listing.size() + 3;
  const auto start = listing.start();
  const bool extended = size > 0xffff || inode.xattrs != NONE || !listing.index().empty();
  Bytes record;
  header(record, inode, extended);
  if (!extended) {
    Fields(record).u32(start.block).u32(inode.nlink).u16(size).u16(start.offset).u32(parent);
    return place(inode, record);
  }
  Fields fields(record);
  fields.u32(inode.nlink).u32(size).u32(start.block).u32(parent);
  fields.u16(listing.index().size()).u16(start.offset).u32(inode.xattrs);
  for (const auto &entry : listing.index())
    fields.u32(entry.offset)
        .u32(entry.block)
        .u32(entry.name.size() - 1)
        .bytes(entry.name.data(), entry.name.size());
  place(inode, record);
}

void Tables::writeFile(Inode &inode) {
  const bool fragment = inode.offset != NONE;
  StoredFile file;
  if (!fragment && inode.data != NONE)
    file = parts_.line.files()[inode.data];
  uint64_t holes = 0, position = 0;
  eachBlock(parts_.line, file, [&](uint32_t word) {
    const uint64_t size = std::min<uint64_t>(parts_.blockSize, inode.size - position);
    position += size;
    holes += word == 0 ? size : 0;
  });
  const uint32_t fragmentNumber = fragment ? inode.data : file.fragment;
  const uint32_t offset = fragment ? inode.offset : file.fragmentOffset;
  const bool extended =
      inode.nlink > 1 || inode.xattrs != NONE || holes > 0 || std::max(inode.size, file.start) > UINT32_MAX;
  Bytes record;
  header(record, inode, extended);
  Fields fields(record);
  if (extended)
    fields.u64(file.start)
        .u64(inode.size)
        .u64(holes)
        .u32(inode.nlink)
        .u32(fragmentNumber)
        .u32(offset)
        .u32(inode.xattrs);
  else
    fields.u32(file.start).u32(fragmentNumber).u32(offset).u32(inode.size);
  place(inode, record);
  // A sparse file of a terabyte has millions of words: they never stand in memory together.
  Bytes words;
  eachBlock(parts_.line, file, [&](uint32_t word) {
    Fields(words).u32(word);
    if (words.size() < METADATA_SIZE)
      return;
    inodes_.append(words);
    words.clear();
  });
  inodes_.append(words);
}

void Tables::writeInode(Inode &inode) {
  if (inode.type == Type::file)
    return writeFile(inode);
  Bytes record;
  const bool extended = inode.xattrs != NONE;
  header(record, inode, extended);
  Fields fields(record);
  fields.u32(inode.nlink);
  if (inode.type == Type::symlink) {
    const auto target = parts_.tree.texts.get(inode.data);
    fields.u32(target.size()).bytes(target.data(), target.size());
  } else if (inode.type == Type::block || inode.type == Type::character) {
    fields.u32(inode.data);
  }
  if (extended)
    fields.u32(inode.xattrs);
  place(inode, record);
}

} // namespace berth::squash
