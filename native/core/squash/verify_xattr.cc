// SPDX-License-Identifier: Apache-2.0
#include "verify_xattr.hh"
#include "read_xattr.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

std::vector<XattrSet> readSets(const Source &source, const Layout &layout, Unpacker &unpacker) {
  MetaCursor ids(source, layout.xattrIds.table, unpacker);
  std::vector<XattrSet> sets;
  for (uint32_t i = 0; i < layout.xattrIds.count; i++)
    sets.push_back(readXattrSet(ids, layout));
  if (!ids.atEnd())
    ids.refuse("bytes after the last record");
  // In the order of the table, so that each block is unpacked once and sets that share bytes are seen.
  std::ranges::sort(sets, {}, &XattrSet::start);
  return sets;
}

/** Values that pairs refer to stand in a set or between sets; two of them never share bytes. */
void verifyShared(MetaCursor &cursor, std::vector<uint64_t> &references) {
  std::ranges::sort(references);
  uint64_t last = kNoTable;
  uint64_t end = 0;
  for (const uint64_t reference : references) {
    if (reference == last)
      continue;
    last = reference;
    cursor.seek(reference);
    if (reference < end)
      cursor.refuse("two shared values overlap");
    skipXattrValue(cursor);
    end = cursor.position();
  }
}

} // namespace

void verifyXattrs(const Source &source, const Layout &layout, const Limits &limits) {
  if (layout.xattrIds.count == 0)
    return;
  Unpacker unpacker(layout.super.compressor, layout.super.blockSize);
  MetaCursor cursor(source, layout.xattrs, unpacker);
  std::vector<uint64_t> references;
  uint64_t pairs = 0;
  uint64_t end = 0;
  for (const XattrSet &set : readSets(source, layout, unpacker)) {
    cursor.seek(set.start);
    if (set.start < end)
      cursor.refuse("two sets share attributes");
    size_t names = 0;
    for (uint32_t i = 0; i < set.count; i++) {
      const XattrPair pair = readXattrPair(cursor, layout);
      if (pair.shared)
        references.push_back(pair.value);
      names += pair.name.size() + 1;
      if (names > kXattrNamesMax)
        cursor.refuse("a set with too many names");
      if (++pairs > limits.entriesMax)
        overLimit("xattrs", pairs, limits.entriesMax);
    }
    end = cursor.position();
  }
  verifyShared(cursor, references);
}

} // namespace berth::unsquash
