// SPDX-License-Identifier: Apache-2.0
/** Where everything in an image is: superblock and the block lists of all tables, checked as the kernel does
 * at mount. */
#pragma once

#include "read_limits.hh"
#include "read_meta.hh"
#include "read_super.hh"

namespace berth::unsquash {

/** An array of records in metadata blocks, with an index of the blocks' image offsets behind it. */
struct Lookup {
  MetaTable table;
  uint32_t count = 0;
};

struct Layout {
  Super super{};
  MetaTable inodes;
  MetaTable directories;
  std::vector<uint32_t> ids;
  Lookup fragments;
  /** count 0: the image has none. */
  Lookup exports;
  Lookup xattrIds;
  MetaTable xattrs;
};

struct Fragment {
  uint64_t start;
  /** Size word: bytes on disk, kDataStored. */
  uint32_t size;
};

inline constexpr uint32_t kFragmentSize = 16;
inline constexpr uint32_t kXattrIdSize = 16;
inline constexpr uint32_t kExportSize = 8;

/**
 * Reads the superblock, all block lists and the ids. The tables must follow each other without a gap in the
 * order inodes, directories, fragments, exports, ids, xattrs (fs/squashfs/super.c insists on it since 5.11).
 */
Layout readLayout(const Source &source, const Limits &limits);

/** Reads the next record of the fragment table and checks its place and size. */
Fragment readFragment(MetaCursor &cursor, const Super &super);

} // namespace berth::unsquash
