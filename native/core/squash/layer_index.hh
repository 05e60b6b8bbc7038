// SPDX-License-Identifier: Apache-2.0
/**
 * What each layer of an image consists of, behind the image in the same file: its entries as the archive had
 * them, and for each content that is in the image the number of an inode that has it. With that a layer can
 * become part of another image without being fetched or compressed again (stored_layers.hh reads it).
 *
 *   squashfs, padded | entries | inode numbers | one row a layer | padding | footer of 64 bytes
 *
 * The first two are tables of metadata blocks. Entries of a layer are in its order, layers from the top one.
 */
#pragma once

#include "metadata.hh"
#include "tar.hh"
#include "tree.hh"

namespace berth::squash {

inline constexpr uint64_t INDEX_MAGIC = 0x5859'4c48'5452'4542; // "BERTHLYX"
inline constexpr uint32_t INDEX_VERSION = 1;
inline constexpr uint32_t INDEX_FOOTER_SIZE = 64, INDEX_ROW_SIZE = 32;
/** Bits of an entry's first byte above its kind. */
inline constexpr uint8_t INDEX_KIND = 0x07, INDEX_XATTRS = 0x08, INDEX_CONTENT = 0x10;

class LayerIndex {
public:
  LayerIndex(Codec &codec, Chunks &chunks, unsigned layers)
      : chunks_(chunks), entries_(codec, chunks), codec_(codec), rows_(layers), contents_(chunks) {}

  void begin(unsigned layer);
  /** The next entry of the layer; `inode`: has its content, NONE when the image needs none of it. */
  void add(const TarEntry &entry, uint32_t inode);
  /** `bytes`: of its uncompressed tar. */
  void end(uint64_t bytes) { row_->bytes = bytes; }

  /** When the image's tables are written. Answers the file's size. */
  Result<uint64_t> write(Output &output, const Tree &tree);

private:
  struct Row {
    /** Positions of the first entry, as if its table were unpacked, and of the first number. */
    uint64_t first = 0, content = 0;
    uint64_t entries = 0, bytes = 0;
  };

  Chunks &chunks_;
  MetadataTable entries_;
  Codec &codec_;
  std::vector<Row> rows_;
  Row *row_ = nullptr;
  std::string before_;
  Bytes record_;
  /** Inodes in the order of the entries that have a content. */
  Arena<uint32_t> contents_;
};

} // namespace berth::squash
