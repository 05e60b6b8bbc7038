// SPDX-License-Identifier: Apache-2.0
/** Owners and extended attributes, each distinct value once. */
#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "../result.hh"
#include "chunks.hh"
#include "content_hash.hh"
#include "format.hh"
#include "id_table.hh"
#include "tar_pax.hh"

namespace berth::squash {

class Owners {
public:
  /** Index of a uid or gid, of root's for (uid_t)-1; squashfs counts them in 16 bits: EFBIG beyond 65,535. */
  Result<uint16_t> index(uint32_t id);
  const std::vector<uint32_t> &ids() const { return ids_; }

private:
  std::vector<uint32_t> ids_;
  std::unordered_map<uint32_t, uint16_t> indexes_;
};

class Xattrs {
public:
  Xattrs(const HashKey &key, Chunks &chunks) : key_(key), sets_(chunks), records_(chunks) {}

  /** Index of the set that the policy keeps of these; NONE when it keeps none. */
  Result<uint32_t> index(std::vector<Xattr> xattrs);

  struct Set {
    ContentHash hash;
    uint64_t start;
    uint32_t size;
    uint32_t count;
  };
  size_t size() const { return sets_.size(); }
  const Set &operator[](size_t index) const { return sets_[index]; }
  /** Shows `take` the set's key and value records as they stand in the table, piece by piece. */
  template <typename Take> void records(const Set &set, Take take) const {
    for (uint64_t at = set.start, end = at + set.size; at < end;) {
      const auto run = records_.run(at);
      const auto piece = run.first(std::min<uint64_t>(run.size(), end - at));
      take(piece);
      at += piece.size();
    }
  }

private:
  const HashKey &key_;
  Arena<Set> sets_;
  Arena<uint8_t> records_;
  IdTable indexes_;
};

} // namespace berth::squash
