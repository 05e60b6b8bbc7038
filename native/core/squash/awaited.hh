// SPDX-License-Identifier: Apache-2.0
/**
 * Hard links that wait for a target in a lower layer, and what the layers between them remove. By keyed
 * hashes of paths: 32 bytes for each path and each directory above it, of which 4 to 8 are own memory, and
 * the names for an error message.
 */
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "content_hash.hh"
#include "keyed.hh"
#include "tree.hh"

namespace berth::squash {

class Awaited {
public:
  struct Link {
    unsigned layer;
    std::string target, name;
  };
  enum class Removed { below, itself };

  Awaited(const HashKey &key, Chunks &chunks) : key_(key), paths_(chunks), texts_(chunks) {}

  /** Whether no link waits. */
  bool empty() const { return waiting_ == 0; }
  /** Records in memory, which an image's limit of entries has to count. */
  uint64_t size() const { return paths_.size(); }
  uint64_t textBytes() const { return texts_.size(); }
  /** The inode of those that wait for `path`; NONE: nobody does. */
  uint32_t find(std::string_view path) const;
  /** The same, if `layer` can have what they wait for: it is below theirs, and none between removed it. */
  uint32_t find(std::string_view path, unsigned layer) const;
  /** `layer` has a link `name` to `path` of a lower layer. */
  void add(std::string_view path, uint32_t inode, unsigned layer, std::string_view name);
  /** Nobody waits for `path` any more. */
  void drop(std::string_view path);
  /** `layer` removes what lower layers have below `path`, or that and `path` itself. */
  void remove(std::string_view path, Removed what, unsigned layer);
  /** The first that still waits. */
  std::optional<Link> first() const;

private:
  static constexpr uint16_t NO_LAYER = 0xffff;

  /** The lowest layer so far that removed something and the one before: layers come from the top. */
  struct Removals {
    uint16_t last = NO_LAYER, before = NO_LAYER;
    void add(unsigned layer);
    /** The lowest one above `layer`. */
    unsigned above(unsigned layer) const { return last == layer ? before : last; }
  };
  struct Path {
    uint64_t key;
    /** NONE: nobody waits for this path, some for one below. */
    uint32_t inode = NONE;
    uint32_t target = NONE, name = NONE;
    uint16_t layer = 0;
    Removals below, itself;
  };
  /** Of a name in an error message. */
  static constexpr size_t TEXT_MAX = 1024;

  template <typename Visit> uint32_t walk(std::string_view path, Visit visit) const;

  const HashKey &key_;
  Keyed<Path> paths_;
  Texts texts_;
  size_t waiting_ = 0;
};

} // namespace berth::squash
