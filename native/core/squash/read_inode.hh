// SPDX-License-Identifier: Apache-2.0
/** Inodes: all fourteen kinds as one record. */
#pragma once

#include "read_layout.hh"

#include <string>

namespace berth::unsquash {

struct Inode {
  /** Linear position in the inode table. */
  uint64_t position = 0;
  Type type = Type::file;
  bool extended = false;
  uint16_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime = 0;
  /** 1 … inodes of the superblock. */
  uint32_t number = 0;
  /** Names that point here; basic files have no counter, theirs is 1. */
  uint32_t links = 1;
  /** Index into the xattr id table, or kNone. */
  uint32_t xattr = kNone;

  /** Files: bytes; directories: bytes of the listing; symbolic links: of the target. */
  uint64_t size = 0;
  /** Files: image offset of the first block; the others follow without a gap. */
  uint64_t dataStart = 0;
  /** Files: size words that follow the inode in its table, one per block; 0 is a hole. */
  uint64_t blocks = 0;
  /** Files: bytes of size / block size that are in fragment, at fragmentOffset of it unpacked; or kNone. */
  uint32_t fragment = kNone;
  uint32_t fragmentOffset = 0;

  /** Directories: start of the listing as a reference into the directory table. */
  uint32_t listBlock = 0;
  uint16_t listOffset = 0;
  uint32_t parent = 0;
  /** Directories: index records that follow the inode in its table. */
  uint16_t indexes = 0;

  std::string target;
  /** Device number as the kernel's new_decode_dev() reads it. */
  uint32_t device = 0;

  /** Linear position of what follows: block size words or index records. */
  uint64_t tail = 0;
};

/** Reads the inode at the cursor and checks each field that can be checked alone. The cursor is left at
 * `tail`. */
Inode readInode(MetaCursor &cursor, const Layout &layout);

/** One compressed block as it is on disk, to be unpacked or copied raw. A hole has word 0 and no bytes. */
struct Block {
  uint64_t start;
  /** Size word: bytes on disk and kDataStored. */
  uint32_t word;
  /** Bytes once unpacked. */
  uint32_t length;

  uint32_t size() const { return word & kDataSizeMask; }
  bool stored() const { return (word & kDataStored) != 0; }
};

/** Reads the size word of block `index` of a file at the cursor and checks the place, `start`, that follows
 * for it. */
Block readBlock(MetaCursor &cursor, const Layout &layout, const Inode &inode, uint64_t index, uint64_t start);

} // namespace berth::unsquash
