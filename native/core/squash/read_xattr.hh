// SPDX-License-Identifier: Apache-2.0
/** Extended attributes: pairs of name and value, where a value may be stored once and referred to. */
#pragma once

#include "read_layout.hh"

namespace berth::unsquash {

/** A record of the xattr id table: the pairs of all inodes that have the same ones. */
struct XattrSet {
  /** Linear position in the xattr table. */
  uint64_t start;
  uint32_t count;
};

struct XattrPair {
  /** With its prefix: user.… trusted.… security.… */
  std::string name;
  /** Linear position of the value (its length field): in the set, or of the one referred to. */
  uint64_t value;
  /** The value is stored elsewhere. */
  bool shared;
};

/** XATTR_LIST_MAX: all names of an inode, each with a NUL, or listxattr(2) fails. */
inline constexpr size_t kXattrNamesMax = 65536;

XattrSet readXattrSet(MetaCursor &ids, const Layout &layout);
/** Reads a pair at the cursor (over layout.xattrs) and moves behind it. */
XattrPair readXattrPair(MetaCursor &cursor, const Layout &layout);
/** Moves over a value, whose length is checked. */
void skipXattrValue(MetaCursor &cursor);
/** Reads the value at `pair.value`; moves the cursor. */
std::string readXattrValue(MetaCursor &cursor, const XattrPair &pair);

} // namespace berth::unsquash
