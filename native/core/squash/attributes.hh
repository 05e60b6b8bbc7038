// SPDX-License-Identifier: Apache-2.0
/** Owners and extended attributes, each distinct value once. */
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "../result.hh"
#include "format.hh"
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
  explicit Xattrs(bool keepCapabilities) : keepCapabilities_(keepCapabilities) {}

  /** Index of the set that the policy keeps of these; NONE when it keeps none. */
  Result<uint32_t> index(std::vector<Xattr> xattrs);

  struct Set {
    /** Key and value records as they stand in the table. */
    Bytes records;
    uint32_t count;
  };
  const std::vector<Set> &sets() const { return sets_; }

private:
  bool keepCapabilities_;
  std::vector<Set> sets_;
  std::map<Bytes, uint32_t> indexes_;
};

} // namespace berth::squash
