// SPDX-License-Identifier: Apache-2.0
/** Contents of files of an image on their way into another: which compressed blocks are copied, what is
 * stored again. */
#pragma once

#include <optional>

#include "codec.hh"
#include "copy_runs.hh"
#include "file_store.hh"
#include "reader.hh"
#include "tree.hh"

namespace berth::assemble {

/** The compressor in which blocks of this image can be written beside its own; none: all must be made anew.
 */
std::optional<squash::Compressor> sameCompressor(const unsquash::Super &super);

class StoredFiles {
public:
  StoredFiles(unsquash::Image &image, squash::Tree &tree, uint64_t bytesMax)
      : image_(image), tree_(tree), bytesMax_(bytesMax) {}

  /** A regular file that is not empty, each once; answers its number. All must be told, what is not kept is
   * dead. */
  uint32_t add(const unsquash::Inode &inode);
  uint64_t size(uint32_t file) const { return files_[file].size; }
  /** The inode of the new tree gets this content. Nothing is read yet. */
  void keep(uint32_t file, uint32_t inode);

  /** Decides what is copied. Without it, all that is kept is stored again. */
  Result<> plan();
  /** Gives all that is copied its place: bytes from `start` on, numbers from these on. */
  void settle(uint64_t start, uint32_t firstFile, uint32_t firstFragment);
  const std::vector<Run> &runs() const { return runs_; }
  squash::BlockLine::Adopted takeAdopted() { return std::move(adopted_); }
  uint64_t copied() const;

  /** Stores again what can't be copied: files in fragments with dead neighbours. */
  Result<> readFiles(squash::FileStore &store);
  /** Ends of files that readFiles() put elsewhere; after the line's finish() and settle(). */
  void moveEnds(squash::BlockLine &line) const;
  /** Uncompressed bytes that readFiles() stored. */
  uint64_t bytes() const { return bytes_; }

private:
  /** Only what the reader needs to find the content again. */
  struct File {
    uint64_t size, start, blocks, tail;
    uint32_t fragment, fragmentOffset;
    /** In the new tree; NONE: not kept. */
    uint32_t inode = squash::NONE;
    /** Number among the adopted. */
    uint32_t stored = squash::NONE;
  };
  struct Moved {
    uint32_t inode, fragment, offset;
  };

  Result<> planFragments();
  Result<> planBlocks(File &file);
  Result<> readFile(const File &file, squash::FileStore &store);
  bool isDead(const File &file) const { return file.fragment != squash::NONE && dead_[file.fragment]; }
  static unsquash::Inode inodeOf(const File &file);

  unsquash::Image &image_;
  squash::Tree &tree_;
  uint64_t bytesMax_;
  std::vector<File> files_;
  std::vector<bool> dead_;
  /** By number in the image: among those that are copied. */
  std::vector<uint32_t> fragmentNumbers_;
  std::vector<unsquash::Fragment> fragments_;
  std::vector<Run> runs_;
  squash::BlockLine::Adopted adopted_;
  std::vector<Moved> moved_;
  bool planned_ = false;
  uint64_t bytes_ = 0;
};

} // namespace berth::assemble
