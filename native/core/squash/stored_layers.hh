// SPDX-License-Identifier: Apache-2.0
/** Layers of images that were converted before, read by the index behind each of them (layer_index.hh). */
#pragma once

#include <memory>
#include <vector>

#include "stored.hh"

namespace berth::assemble {

struct StoredLayer {
  /** In the new image. */
  unsigned layer;
  /** Which of the images has it, and as which of its layers. */
  unsigned image, at;
};

struct StoredOptions {
  /** Files with an image each; borrowed. */
  std::vector<int> images;
  std::vector<StoredLayer> layers;
  /** The new image, where blocks are copied to; borrowed. */
  int out = -1;
  /** What all of them must have in common with it. */
  squash::Compressor compressor = squash::Compressor::zstd;
  uint32_t blockSize = 128 * 1024;
  uint64_t entriesMax = 10'000'000;
  uint64_t bytesMax = uint64_t{1} << 40;
};

/** EUCLEAN: an image is damaged, or of those without an index; EOPNOTSUPP: another compressor or block size.
 */
Result<std::shared_ptr<squash::Stored>> openStored(StoredOptions options);

} // namespace berth::assemble
