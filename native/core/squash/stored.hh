// SPDX-License-Identifier: Apache-2.0
/** Layers that other images have already: their entries are listed, their contents copied in compressed form.
 */
#pragma once

#include "block_line.hh"
#include "file_store.hh"
#include "tar.hh"
#include "tree.hh"

namespace berth::squash {

class Stored {
public:
  virtual ~Stored() = default;

  /** Before the first layer(); `tree`: of the new image. */
  virtual Result<> open(Tree &tree) = 0;
  virtual bool has(unsigned layer) const = 0;
  /** Entries of a layer that it has, from the first on. */
  virtual Result<std::unique_ptr<EntryReader>> layer(unsigned layer) = 0;
  /** Of the layer's uncompressed tar. */
  virtual uint64_t bytes(unsigned layer) const = 0;

  /** When all is merged: stores contents that share a block with something that is not in the new image. */
  virtual Result<> storeAgain(FileStore &store) = 0;
  /** After the line's finish(): copies all other contents behind its blocks. Answers the compressed bytes. */
  virtual Result<uint64_t> copy(BlockLine &line, Output &output) = 0;
};

} // namespace berth::squash
