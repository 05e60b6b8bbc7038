// SPDX-License-Identifier: Apache-2.0
#include "read_inode.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

constexpr uint16_t kModeMask = 07777;
/** The listing's length counts "." and ".." that are not there (fs/squashfs/dir.c). */
constexpr uint32_t kListingExtra = 3;
/** The smallest page of any architecture. */
constexpr uint32_t kPageSize = 4096;

void readHeader(MetaCursor &cursor, const Layout &layout, Inode &inode) {
  uint16_t type = cursor.u16();
  if (type == 0 || type > 2 * kExtended)
    cursor.refuse("inode type " + std::to_string(type));
  inode.extended = type > kExtended;
  inode.type = static_cast<Type>(inode.extended ? type - kExtended : type);
  inode.mode = cursor.u16();
  if ((inode.mode & ~kModeMask) != 0)
    cursor.refuse("permissions with unknown bits");
  const uint16_t uid = cursor.u16();
  const uint16_t gid = cursor.u16();
  if (std::max(uid, gid) >= layout.ids.size())
    cursor.refuse("owner " + std::to_string(std::max(uid, gid)) + " of " + std::to_string(layout.ids.size()) +
                  " ids");
  inode.uid = layout.ids[uid];
  inode.gid = layout.ids[gid];
  inode.mtime = cursor.u32();
  inode.number = cursor.u32();
  if (inode.number == 0 || inode.number > layout.super.inodes)
    cursor.refuse("inode number " + std::to_string(inode.number));
}

void checkFile(const MetaCursor &cursor, const Layout &layout, Inode &inode, uint64_t sparse) {
  const uint64_t blockSize = layout.super.blockSize;
  // loff_t is signed; the kernel refuses negative sizes.
  if (inode.size > INT64_MAX)
    cursor.refuse("file size " + std::to_string(inode.size));
  if (sparse > inode.size)
    cursor.refuse("more sparse bytes than the file has");
  inode.blocks = inode.size / blockSize;
  const uint64_t rest = inode.size % blockSize;
  if (inode.fragment == kNone) {
    inode.blocks += rest != 0 ? 1 : 0;
    return;
  }
  if (rest == 0)
    cursor.refuse("a fragment for a file of whole blocks");
  if (inode.fragment >= layout.super.fragments)
    cursor.refuse("fragment " + std::to_string(inode.fragment) + " of " +
                  std::to_string(layout.super.fragments));
  if (inode.fragmentOffset > blockSize - rest)
    cursor.refuse("fragment offset " + std::to_string(inode.fragmentOffset));
}

void readFile(MetaCursor &cursor, const Layout &layout, Inode &inode) {
  uint64_t sparse = 0;
  if (inode.extended) {
    inode.dataStart = cursor.u64();
    inode.size = cursor.u64();
    sparse = cursor.u64();
    inode.links = cursor.u32();
    inode.fragment = cursor.u32();
    inode.fragmentOffset = cursor.u32();
    inode.xattr = cursor.u32();
  } else {
    inode.dataStart = cursor.u32();
    inode.fragment = cursor.u32();
    inode.fragmentOffset = cursor.u32();
    inode.size = cursor.u32();
  }
  checkFile(cursor, layout, inode, sparse);
}

void readDirectory(MetaCursor &cursor, Inode &inode) {
  if (inode.extended) {
    inode.links = cursor.u32();
    inode.size = cursor.u32();
    inode.listBlock = cursor.u32();
    inode.parent = cursor.u32();
    inode.indexes = cursor.u16();
    inode.listOffset = cursor.u16();
    inode.xattr = cursor.u32();
  } else {
    inode.listBlock = cursor.u32();
    inode.links = cursor.u32();
    inode.size = cursor.u16();
    inode.listOffset = cursor.u16();
    inode.parent = cursor.u32();
  }
  inode.size = inode.size > kListingExtra ? inode.size - kListingExtra : 0;
  if (inode.size == 0 && inode.indexes != 0)
    cursor.refuse("an index for an empty directory");
}

void readSymlink(MetaCursor &cursor, Inode &inode) {
  inode.links = cursor.u32();
  const uint32_t length = cursor.u32();
  if (length == 0 || length > kTargetMax)
    cursor.refuse("symbolic link target of " + std::to_string(length) + " bytes");
  inode.target = cursor.string(length);
  inode.size = length;
  if (inode.target.find('\0') != std::string::npos)
    cursor.refuse("symbolic link target with a NUL");
  if (inode.extended)
    inode.xattr = cursor.u32();
}

void readSpecial(MetaCursor &cursor, Inode &inode) {
  inode.links = cursor.u32();
  if (inode.type == Type::block || inode.type == Type::character)
    inode.device = cursor.u32();
  if (inode.extended)
    inode.xattr = cursor.u32();
}

} // namespace

Inode readInode(MetaCursor &cursor, const Layout &layout) {
  Inode inode;
  inode.position = cursor.position();
  readHeader(cursor, layout, inode);
  switch (inode.type) {
  case Type::file:
    readFile(cursor, layout, inode);
    break;
  case Type::directory:
    readDirectory(cursor, inode);
    break;
  case Type::symlink:
    readSymlink(cursor, inode);
    break;
  default:
    readSpecial(cursor, inode);
  }
  if (inode.links == 0)
    cursor.refuse("no links");
  if (inode.xattr != kNone && inode.xattr >= layout.xattrIds.count)
    cursor.refuse("xattr set " + std::to_string(inode.xattr) + " of " +
                  std::to_string(layout.xattrIds.count));
  inode.tail = cursor.position();
  return inode;
}

Block readBlock(MetaCursor &cursor, const Layout &layout, const Inode &inode, uint64_t index,
                uint64_t start) {
  const Super &super = layout.super;
  const bool last = index + 1 == inode.blocks && inode.fragment == kNone;
  const uint32_t rest = static_cast<uint32_t>(inode.size % super.blockSize);
  const Block block{
      .start = start, .word = cursor.u32(), .length = last && rest != 0 ? rest : super.blockSize};
  if (block.word == 0)
    return block;
  // squashfs-tools-ng keeps a short last block compressed even where that made it longer; the kernel takes up
  // to a page.
  const uint32_t sizeMax = (block.length + kPageSize - 1) / kPageSize * kPageSize;
  const bool unknownBits = (block.word & ~(kDataStored | kDataSizeMask)) != 0;
  if (unknownBits || block.size() == 0 || block.size() > sizeMax ||
      (block.stored() && block.size() != block.length))
    cursor.refuse("size word " + std::to_string(block.word) + " for a block of " +
                  std::to_string(block.length) + " bytes");
  if (start < super.dataStart || start > super.inodeTable || block.size() > super.inodeTable - start)
    cursor.refuse("a block at byte " + std::to_string(start) + " is outside the data");
  return block;
}

} // namespace berth::unsquash
