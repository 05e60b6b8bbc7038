// SPDX-License-Identifier: Apache-2.0
/**
 * The merged image in memory: names and inodes apart, since hard links share inodes. Content is not here.
 * Records are numbers in arenas: about 100 bytes an entry, name included.
 */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chunks.hh"
#include "content_hash.hh"
#include "format.hh"
#include "id_table.hh"

namespace berth::squash {

/** Byte strings that live as long as the conversion. */
class Texts {
public:
  static constexpr size_t LENGTH_MAX = 0xffff;
  /** Handles name 4 GiB. Who adds looks at size() at least once for each chunk, so one stays free. */
  static constexpr uint64_t BYTES_MAX = (uint64_t{1} << 32) - 2 * Chunks::CHUNK_SIZE;

  explicit Texts(Chunks &source) : source_(source) {}
  /** Up to LENGTH_MAX bytes. */
  uint32_t add(std::string_view text);
  std::string_view get(uint32_t handle) const;
  /** In bytes, whole chunks. */
  uint64_t size() const { return uint64_t{chunks_.size()} << CHUNK_BITS; }
  void clear();

private:
  static constexpr unsigned CHUNK_BITS = 20;
  static constexpr uint32_t CHUNK_SIZE = 1u << CHUNK_BITS;
  static_assert(CHUNK_SIZE == Chunks::CHUNK_SIZE);
  Chunks &source_;
  std::vector<uint8_t *> chunks_;
  uint32_t used_ = CHUNK_SIZE;
};

struct Inode {
  /** none: a hard link's target that is not known yet, or that is `data` (another inode) unless NONE. */
  Type type = Type::none;
  uint16_t mode = 0;
  /** Indexes of the owner table. */
  uint16_t uid = 0;
  uint16_t gid = 0;
  uint32_t mtime = 0;
  uint32_t xattrs = NONE;
  /** Files: bytes. Symlinks: length. */
  uint64_t size = 0;
  /** Files: stored file, or fragment when `offset` is set; NONE when empty. Symlinks: text. Devices: number.
   */
  uint32_t data = NONE;
  uint32_t offset = NONE;
  /** Set while the tables are written. */
  uint32_t nlink = 0;
  uint32_t number = 0;
  uint32_t block = NONE;
  uint16_t blockOffset = 0;
};

struct Node {
  uint32_t parent = NONE;
  uint32_t next = NONE;
  uint32_t child = NONE;
  uint32_t name = NONE;
  /** NONE: a whiteout, which hides this name of lower layers. */
  uint32_t inode = NONE;
  /** The layer that made it. */
  uint16_t layer = 0;
  /** The layer whose directory entry gave mode and owner. */
  uint16_t metadataLayer = 0;
  /** Content of layers below this one is hidden here (opaque, or a whiteout or file came between). */
  uint16_t hiddenBelow = 0;
  /** A directory that no layer has spoken about yet: only something inside it. */
  bool implicit : 1 = false;
  /** Lower directories of this name are another directory, whose mode does not count here. */
  bool cut : 1 = false;
  /** Nothing has come below it since all of its layer's was dropped there. */
  bool emptied : 1 = false;

  bool whiteout() const { return inode == NONE; }
};

class Tree {
public:
  static constexpr uint32_t ROOT = 0;

  Tree(const HashKey &key, Chunks &chunks);

  /** NONE when there is no such name; it may be a whiteout. */
  uint32_t find(uint32_t parent, std::string_view name) const;
  uint32_t add(uint32_t parent, std::string_view name, unsigned layer);
  uint32_t addInode();
  Node &node(uint32_t number) { return nodes_[number]; }
  const Node &node(uint32_t number) const { return nodes_[number]; }
  Inode &inode(uint32_t number) { return inodes_[number]; }
  const Inode &inode(uint32_t number) const { return inodes_[number]; }
  Type type(uint32_t node) const {
    return nodes_[node].whiteout() ? Type::none : inodes_[nodes_[node].inode].type;
  }
  /** Follows hard links that found their target late. */
  uint32_t resolve(uint32_t inode) const;
  std::string_view name(uint32_t node) const { return texts.get(nodes_[node].name); }
  std::string path(uint32_t node) const;
  size_t nodeCount() const { return nodes_.size(); }
  size_t inodeCount() const { return inodes_.size(); }

  /** Turns everything that `layer` put below `node` into whiteouts. */
  void drop(uint32_t node, unsigned layer);

  Texts texts;

private:
  const HashKey &key_;
  Arena<Node> nodes_;
  Arena<Inode> inodes_;
  IdTable names_;
};

} // namespace berth::squash
