// SPDX-License-Identifier: Apache-2.0
/** Reads the index of layers behind an image (layer_index.hh). Safe on any input; throws Fault. */
#pragma once

#include "layer_index.hh"
#include "read_limits.hh"
#include "read_meta.hh"
#include "read_super.hh"

namespace berth::unsquash {

struct LayerRow {
  uint64_t first = 0, content = 0, entries = 0, bytes = 0;
};

struct LayerTables {
  MetaTable entries, numbers;
  uint64_t contents = 0;
  std::vector<LayerRow> rows;
};

LayerTables readLayerTables(const Source &source, const Super &super, const Limits &limits);

/** The entries of one layer. */
class LayerCursor {
public:
  LayerCursor(const Source &source, const LayerTables &tables, const LayerRow &row, Unpacker &unpacker);

  /** False at its end. `number`: of an inode of the image with the entry's content; 0: none has it. */
  bool next(squash::TarEntry &entry, uint32_t &number);

private:
  std::string text();
  void readXattrs(squash::TarEntry &entry);

  const LayerTables &tables_;
  MetaCursor entries_, numbers_;
  uint64_t left_, content_;
  std::string name_;
};

} // namespace berth::unsquash
