// SPDX-License-Identifier: Apache-2.0
/**
 * A new image from an image and the upper directory of an overlay over it, so that saving a container costs
 * what changed: compressed blocks of files that stayed are copied as they are, only tables and changed files
 * are made. The output depends on both inputs and the options only. What was deleted or replaced is not in
 * it, not even inside a fragment block.
 */
#pragma once

#include <string>
#include <vector>

#include "../result.hh"
#include "codec.hh"

namespace berth::assemble {

/** A name that berth itself put into the upper directory: Made of core/ns. */
struct Own {
  std::string path;
  /** SHA-256 in hex of a file's content or of where a link points; empty: directories and empty files. */
  std::string digest;
};

struct Added {
  /** One that ends with a slash is a directory, and those above it. */
  std::string path;
  std::string content;
  /** Also where the image has a file or link of that name; a directory stays. */
  bool replace = false;
};

struct Options {
  /** A squashfs: regular file or block device. */
  int image = -1;
  /** Opened for reading. Its files are read as the caller, who sees their owners as the new image shall have
   * them. */
  int upper = -1;
  /** An empty regular file, opened read-write. All three are borrowed. */
  int out = -1;
  /** For all blocks when the image's own compressor cannot be written; else the image's, at this level. */
  squash::Compressor compressor = squash::Compressor::zstd;
  int level = 1;
  unsigned threads = 2;
  /** Refuse beyond: names; bytes that are read and compressed. */
  uint64_t entriesMax = 10'000'000;
  uint64_t bytesMax = uint64_t{1} << 40;
  /** Directories of the upper that hide those of the image (trusted.overlay.opaque, which only root can
   * read). */
  std::vector<std::string> opaque;
  /** Left out while they are as berth made them: what the image has there comes back. */
  std::vector<Own> own;
  /** Files to add, root's, mode 0644, unless there is something at their path that stays. */
  std::vector<Added> add;
  /** See waits_for_disk.hh. */
  bool durable = true;
};

struct Assembled {
  uint64_t size = 0;
  /** Compressed bytes copied from the image, and bytes that were compressed. */
  uint64_t copied = 0;
  uint64_t fresh = 0;
};

/** Blocks; threads end before it returns. EUCLEAN: the image is damaged. */
Result<Assembled> assembleImage(const Options &options);

} // namespace berth::assemble
