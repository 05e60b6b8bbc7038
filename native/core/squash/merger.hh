// SPDX-License-Identifier: Apache-2.0
/**
 * Merges layers into one tree, top layer first, so that what a layer hides is known before it is compressed.
 *
 * A name in a layer means what it means to an extractor that unpacks the layer into a directory of its own,
 * which is then an overlay's upper directory (podman, containerd with overlayfs): `..` and absolute names
 * stay inside the root; a parent that is a symlink is followed when this same layer made it; a parent that
 * only lower layers have as a symlink or file is replaced by a directory. Within a layer the last entry of a
 * name wins; a file hides what lower layers have there even if a directory of its layer comes after it, as it
 * does where entries are applied in order (umoci). Whiteouts count for lower layers only (OCI image-spec,
 * layer.md).
 */
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attributes.hh"
#include "awaited.hh"
#include "file_store.hh"
#include "hidden.hh"
#include "layer_index.hh"
#include "tar.hh"
#include "tree.hh"
#include "wanted.hh"

namespace berth::squash {

class Merger {
public:
  /** As the reader of images (Limits::depthMax): a path of PATH_MAX bytes has no more components. */
  static constexpr size_t DEPTH_MAX = 2048;

  struct Parts {
    Tree &tree;
    FileStore &store;
    Owners &owners;
    Xattrs &xattrs;
    const HashKey &key;
    LayerIndex &index;
    Chunks &chunks;
  };

  Merger(Parts parts, uint64_t entriesMax, uint64_t textBytesMax)
      : parts_(parts), entriesMax_(entriesMax), textBytesMax_(textBytesMax), hidden_(parts.key, parts.chunks),
        awaited_(parts.key, parts.chunks) {}

  /** Reads one layer to its end; layers come from the highest index to 0. */
  Result<> layer(unsigned index, EntryReader &reader);
  /** After layer 0: hard links whose target no layer has are an error. */
  Result<> checkLinks();
  /**
   * Layers that must be read again: they hide, under another name, the content of a visible hard link, and
   * its bytes had passed before the link was seen; or a layer was read from another image that hides what is
   * needed here. Highest first.
   */
  std::vector<unsigned> wanted() const;
  bool wants(unsigned layer) const { return wanted_.contains(layer); }
  Result<> layerAgain(unsigned index, EntryReader &reader);
  uint64_t entries() const { return entries_; }
  /** What wanted() is about, for an error message. */
  std::string wantedExample() const { return wantedExample_; }

private:
  /** No node: hidden by an upper layer, or (only while looking up) in no layer so far. */
  static constexpr uint32_t HIDDEN = NONE, MISSING = NONE - 1;
  static constexpr unsigned LINK_HOPS_MAX = 40;
  static constexpr size_t NAME_SIZE_MAX = 255;
  /** PATH_MAX without its NUL: no extractor can name more. Each level costs what the path is long. */
  static constexpr size_t PATH_SIZE_MAX = 4095;
  static constexpr size_t TARGET_SIZE_MAX = PATH_SIZE_MAX;

  /** A walk from the root: the path in this layer's view, and the node of each directory on it. */
  struct Walk {
    std::string path;
    std::vector<uint32_t> nodes{Tree::ROOT};
    bool create;
    unsigned hops = 0;
  };
  struct Place {
    uint32_t parent = Tree::ROOT;
    /** Empty for the root itself. */
    std::string base;
    /** Without a leading slash. */
    std::string path;
    bool hidden() const { return parent == HIDDEN || parent == MISSING; }
  };

  // merger.cc
  Result<> apply(const TarEntry &entry, EntryReader &reader);
  Result<> addDir(const TarEntry &entry, const Place &place);
  Result<> addOther(const TarEntry &entry, const Place &place, EntryReader &reader);
  Result<> addRoot(const TarEntry &entry);
  void whiteout(const Place &place, std::string_view name);
  void opaque(const Place &place);
  uint32_t claim(const Place &place);
  void noteFilled(uint32_t directory);
  Result<> describe(const TarEntry &entry, Inode &inode);
  Result<> fill(const TarEntry &entry, uint32_t inode, EntryReader &reader);
  Result<> fillFile(const TarEntry &entry, uint32_t number, Inode &inode, EntryReader &reader);
  Result<> checkLimits() const;

  // merger_path.cc
  Result<Place> locate(std::string_view name, bool create);
  Result<> enter(Walk &walk, std::string_view component);
  Result<> follow(Walk &walk, std::string_view target);
  Result<uint32_t> descend(Walk &walk, uint32_t parent, std::string_view component);
  uint32_t makeImplicit(uint32_t parent, std::string_view component);
  static bool isInternal(std::string_view path);

  // merger_links.cc
  Result<> addLink(const TarEntry &entry, const Place &place);
  Result<LinkTarget> findTarget(const TarEntry &entry);
  uint32_t demand(LinkTarget &target, const TarEntry &entry);
  Wanted &wantedOf(unsigned layer);
  void settleWanted();

  Parts parts_;
  uint64_t entriesMax_, textBytesMax_;
  uint64_t entries_ = 0;

  unsigned layer_ = 0;
  uint64_t ordinal_ = 0;
  /** Some directory's node is emptied. */
  bool anyEmptied_ = false;
  /** Inode of the current entry's content. */
  uint32_t filled_ = NONE;
  Hidden hidden_;

  Awaited awaited_;
  /** By layer. */
  std::map<unsigned, std::unique_ptr<Wanted>> wanted_;
  std::string wantedExample_;
};

} // namespace berth::squash
