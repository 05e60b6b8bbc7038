// SPDX-License-Identifier: Apache-2.0
/**
 * What upper layers hide of the layer that is being read: a hard link or a path of this layer may still lead
 * there. By a keyed hash of the path, 24 bytes an entry and 4 to 8 for the table: a layer can hide millions.
 */
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "content_hash.hh"
#include "keyed.hh"
#include "tree.hh"

namespace berth::squash {

/** Where a hard link leads within its layer. */
struct LinkTarget {
  uint32_t inode = NONE;
  /** Entry number in this layer whose content is hidden and has passed; 0: none. */
  uint64_t ordinal = 0;
  /** Only in lower layers: this path. */
  std::string lower;
};

class Hidden {
public:
  Hidden(const HashKey &key, Chunks &chunks) : key_(key), entries_(chunks), texts_(chunks) {}

  /** At a layer's end. */
  void clear();
  uint64_t textBytes() const { return texts_.size(); }
  /** The last entry of a path counts. `symlink`: where it points. */
  void put(std::string_view path, const LinkTarget &target, std::optional<std::string_view> symlink = {});
  std::optional<LinkTarget> find(std::string_view path) const;
  /** Where the symlink at `path` points. */
  std::optional<std::string_view> symlink(std::string_view path) const;
  /** Something else took the path: no way leads through it any more. */
  void dropSymlink(std::string_view path);

private:
  struct Entry {
    uint64_t key;
    /** Of LinkTarget; with LOWER the text of its path. */
    uint64_t ordinal;
    uint32_t inode;
    uint32_t symlink;
  };
  static constexpr uint64_t LOWER = uint64_t{1} << 63;

  uint64_t keyOf(std::string_view path) const { return key_.name(~uint64_t{0}, path); }

  const HashKey &key_;
  Keyed<Entry> entries_;
  Texts texts_;
  size_t symlinkCount_ = 0;
};

} // namespace berth::squash
