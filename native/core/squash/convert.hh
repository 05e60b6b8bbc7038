// SPDX-License-Identifier: Apache-2.0
/**
 * OCI layers in, one squashfs out, in a stream: bytes are pushed by layer in any order, the file grows once
 * and in order. The output depends on the layers and options only, never on threads, timing or the sizes of
 * pushes.
 *
 *   push → Feed → [inflate] → Pieces → [hash], [merge] → BlockLine → [compress × N] → [write]
 *
 * Brackets are threads. Every arrow is bounded; a full one holds back all before it, up to the caller.
 */
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "codec.hh"
#include "content_watch.hh"
#include "feed.hh"
#include "sha256.hh"
#include "stored.hh"
#include "tree.hh"

namespace berth::squash {

struct ConvertOptions {
  /** An empty regular file, opened read-write; borrowed. */
  int fd = -1;
  unsigned layers = 0;
  Compressor compressor = Compressor::zstd;
  int level = 1;
  /** A power of two from 4 KiB to 1 MiB. */
  uint32_t blockSize = 128 * 1024;
  unsigned threads = 2;
  /** Refuse layers with more bytes or entries together than this: EFBIG. */
  uint64_t bytesMax = UINT64_MAX;
  uint64_t entriesMax = 100'000'000;
  /** The same for names and links, in each of a few tables. */
  uint64_t textBytesMax = Texts::BYTES_MAX;
  /** All files are root's: the id table says 0 for every owner, whatever the archive says. */
  bool ownersToRoot = false;
  /** Memory of its own for tables; what is beyond lies in the file (chunks.hh). */
  size_t tablesOwnMax = Chunks::HEAP_MAX;
  /** Paths whose content is wanted back; symlinks are followed within the image. */
  std::vector<std::string> capture;
  /** Has layers that need not be sent; with the same block size and compressor. */
  std::shared_ptr<Stored> stored;
  /** Sees every content that is stored anew; from one thread. */
  std::shared_ptr<ContentWatch> watch;
};

struct ConvertResult {
  uint64_t size = 0;
  uint64_t entries = 0;
  /** Uncompressed bytes of all layers. */
  uint64_t bytes = 0;
  /** Compressed bytes that came from other images. */
  uint64_t copied = 0;
  /** Zeros for a layer that was not sent. */
  std::vector<Digest> diffIds;
  /** In the order of `capture`; those that are no files, or larger than CAPTURE_SIZE_MAX, are absent. */
  std::vector<std::pair<std::string, Bytes>> captured;
  /** Where there was a watch. */
  std::shared_ptr<const Marks> marks;
};

struct ConvertProgress {
  uint64_t compressed;
  uint64_t uncompressed;
};

class Converter {
public:
  /** As many as overlayfs could never stack, yet no list that costs memory. */
  static constexpr unsigned LAYERS_MAX = 1024;
  static constexpr size_t CAPTURE_SIZE_MAX = 256 * 1024;

  static Result<std::unique_ptr<Converter>> start(ConvertOptions options);
  /** Stops and joins all threads; answers not given yet become ECANCELED. */
  ~Converter();

  /** Layer 0 is the lowest. `done` may be called at once or from another thread, never twice. */
  void write(unsigned layer, Bytes bytes, Done done);
  void end(unsigned layer, Done done);
  /**
   * When all layers ended: the layers that must be sent once more (or at all, of those that were stored), in
   * any order, before finish(). Nearly always none; Merger::wanted says which images need it.
   */
  void missing(std::function<void(Result<std::vector<unsigned>>)> done);
  /** ENODATA when missing() layers were not sent. */
  void finish(std::function<void(Result<ConvertResult>)> done);
  void abort();
  /** After abort(), from any thread: returns when nothing is written any more. */
  void join();
  ConvertProgress progress() const;

private:
  struct Engine;
  explicit Converter(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

} // namespace berth::squash
