// SPDX-License-Identifier: Apache-2.0
#include "verify_xattr.hh"
#include "read_xattr.hh"

#include <algorithm>

namespace berth::unsquash {

void verifyXattrs(const Source &source, const Layout &layout) {
  if (layout.xattrIds.count == 0)
    return;
  Unpacker unpacker(layout.super.compressor, layout.super.blockSize);
  MetaCursor ids(source, layout.xattrIds.table, unpacker);
  std::vector<XattrSet> sets;
  for (uint32_t i = 0; i < layout.xattrIds.count; i++)
    sets.push_back(readXattrSet(ids, layout));
  if (!ids.atEnd())
    ids.refuse("bytes after the last record");

  // In the order of the table, so that each block is unpacked once and sets that share bytes are seen.
  std::ranges::sort(sets, {}, &XattrSet::start);
  MetaCursor cursor(source, layout.xattrs, unpacker);
  std::vector<uint64_t> values;
  std::vector<uint64_t> references;
  uint64_t end = 0;
  for (const XattrSet &set : sets) {
    cursor.seek(set.start);
    if (set.start < end)
      cursor.refuse("two sets share attributes");
    end = set.start + set.size;
    for (uint32_t i = 0; i < set.count; i++) {
      const XattrPair pair = readXattrPair(cursor, layout);
      (pair.shared ? references : values).push_back(pair.value);
      if (cursor.position() > end)
        cursor.refuse("a set of more than its " + std::to_string(set.size) + " bytes");
    }
    if (cursor.position() != end)
      cursor.refuse("a set of less than its " + std::to_string(set.size) + " bytes");
  }
  // A shared value is always one that some set holds, and those were checked above.
  for (const uint64_t reference : references)
    if (!std::ranges::binary_search(values, reference))
      refuse("xattr table", layout.xattrs.start,
             "a reference to position " + std::to_string(reference) + ", where no value is");
}

} // namespace berth::unsquash
