// SPDX-License-Identifier: Apache-2.0
/** What a PAX extended header says about the entry behind it, and how tar writes numbers. */
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../result.hh"

namespace berth::squash {

struct Xattr {
  std::string name;
  std::string value;
};

struct SparsePart {
  uint64_t offset;
  uint64_t size;
};

/** A map of 16 MiB: no real file has more holes than this. */
inline constexpr size_t SPARSE_PARTS_MAX = 1 << 20;
/** Extended headers and long names: what Go's archive/tar accepts, so what registries can hold. */
inline constexpr uint64_t SPECIAL_SIZE_MAX = 1 << 20;

struct PaxValues {
  std::optional<std::string> path, linkPath;
  std::optional<int64_t> size, uid, gid, mtime, major, minor;
  std::vector<Xattr> xattrs;
  /** In text, as `tar --acls` writes it. */
  std::optional<std::string> acl;

  /** GNU.sparse.*: format 0.0 and 0.1 bring their map here, 1.0 at the front of the content. */
  bool sparse = false;
  bool sparseMapInContent = false;
  std::optional<std::string> sparseName;
  std::optional<int64_t> sparseSize;
  std::vector<SparsePart> sparseParts;

  /** Reads the records of one `x` header; later records win. */
  Result<> read(std::string_view text);

private:
  Result<> set(std::string_view key, std::string_view value);
  Result<> setSparse(std::string_view key, std::string_view value);
  std::optional<uint64_t> partOffset_;
};

Error tarDamage(std::string message);

/** A header's numeric field: octal text, or base 256 where the first bit is set. */
Result<int64_t> parseField(std::span<const uint8_t> field);
/** Decimal, whole text; a fraction is cut (towards minus infinity) when allowed. */
Result<int64_t> parseDecimal(std::string_view text, bool fraction = false);

} // namespace berth::squash
