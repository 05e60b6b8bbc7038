// SPDX-License-Identifier: Apache-2.0
#include "assemble.hh"

#include <algorithm>
#include <fcntl.h>
#include <optional>
#include <unistd.h>

#include "assemble_base.hh"
#include "tables.hh"

namespace berth::assemble {

using squash::Bytes;
using squash::Compressor;
using squash::NONE;
using squash::Tree;
using squash::Type;

namespace {

/** Shorter runs are gathered in memory: a system call each would cost more than the copy. */
constexpr uint64_t RUN_BY_KERNEL = 1 << 20;
/** Some tenths of a second of a disk's writing. */
constexpr uint64_t PART_BY_KERNEL = 64 << 20;
/** File systems share extents only where both sides are aligned to it. */
constexpr uint64_t ALIGNMENT = 4096;
constexpr size_t PIECE = 512 * 1024;
constexpr unsigned ADDED_LAYER = 2;
constexpr uint16_t RAW_EVERYTHING = 0x000b;

/** The compressor in which blocks of this image can be written beside its own; none: all must be made anew.
 */
std::optional<Compressor> sameCompressor(const unsquash::Super &super) {
  if ((super.flags & RAW_EVERYTHING) == RAW_EVERYTHING)
    return Compressor::none;
  switch (super.compressor) {
  case unsquash::Compressor::gzip:
    return Compressor::gzip;
  case unsquash::Compressor::lz4:
    return Compressor::lz4;
  case unsquash::Compressor::zstd:
    return Compressor::zstd;
  default:
    return std::nullopt;
  }
}

class Assembly {
public:
  Assembly(const Options &options, unsquash::Image &image, Compressor compressor,
           std::unique_ptr<squash::Codec> codec)
      : options_(options), image_(image), compressor_(compressor), codec_(std::move(codec)), tree_(key_),
        xattrs_(options.keepCapabilities), upper_(options, tree_, owners_, xattrs_),
        base_(options, image, tree_, owners_, xattrs_, upper_) {}

  Result<Assembled> run(bool reuse);

private:
  Result<> addFiles();
  uint32_t rootTime() const { return tree_.inode(tree_.node(Tree::ROOT).inode).mtime; }
  Result<uint32_t> addDirectories(std::string_view path);
  Result<> fill(squash::BlockLine &line);
  Result<> copyRuns(const std::vector<Run> &runs, squash::Output &head);
  Result<> copyByKernel(const Run &run, uint64_t &copied);

  const Options &options_;
  unsquash::Image &image_;
  Compressor compressor_;
  std::unique_ptr<squash::Codec> codec_;
  squash::Gate gate_;
  squash::HashKey key_;
  Tree tree_;
  squash::Owners owners_;
  squash::Xattrs xattrs_;
  Upper upper_;
  Base base_;
  std::vector<std::pair<uint32_t, std::string>> added_;
};

Result<uint32_t> Assembly::addDirectories(std::string_view path) {
  uint32_t node = Tree::ROOT;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    uint32_t next = tree_.find(node, name);
    if (next == NONE || tree_.node(next).whiteout()) {
      const uint32_t inode = tree_.addInode();
      tree_.inode(inode) = {.type = Type::dir, .mode = 0755, .mtime = rootTime()};
      if (next == NONE)
        next = tree_.add(node, name, ADDED_LAYER);
      tree_.node(next).inode = inode;
    }
    if (tree_.type(next) != Type::dir)
      return NONE;
    node = next;
    path = path.substr(std::min(slash + 1, path.size()));
  }
  return node;
}

/** Only where there is nothing of that name: what the user put there counts more. */
Result<> Assembly::addFiles() {
  for (const Added &file : options_.add) {
    const size_t slash = file.path.rfind('/');
    const bool deep = slash != std::string::npos;
    auto parent = addDirectories(std::string_view(file.path).substr(0, deep ? slash : 0));
    if (!parent)
      return parent.error();
    const std::string name = deep ? file.path.substr(slash + 1) : file.path;
    if (*parent == NONE || tree_.find(*parent, name) != NONE)
      continue;
    const uint32_t inode = tree_.addInode();
    tree_.inode(inode) = {.type = Type::file, .mode = 0644, .mtime = rootTime()};
    tree_.node(tree_.add(*parent, name, ADDED_LAYER)).inode = inode;
    added_.emplace_back(inode, file.content);
  }
  return Nothing{};
}

Result<> Assembly::copyByKernel(const Run &run, uint64_t &copied) {
  while (copied < run.size) {
    auto from = off64_t(run.from + copied), to = off64_t(run.to + copied);
    const uint64_t part = std::min(run.size - copied, PART_BY_KERNEL);
    const ssize_t done = copy_file_range(options_.image, &from, options_.out, &to, part, 0);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
      return fail("copy_file_range", "image");
    if (done <= 0)
      return Nothing{}; // Not between these file systems: read and write.
    // The disk begins while the rest is copied, so that the fsync at the end waits for less.
    (void)sync_file_range(options_.out, off64_t(run.to + copied), done, SYNC_FILE_RANGE_WRITE);
    copied += uint64_t(done);
  }
  return Nothing{};
}

Result<> Assembly::copyRuns(const std::vector<Run> &runs, squash::Output &head) {
  Bytes piece(PIECE);
  const auto copyPlain = [&](uint64_t from, uint64_t size) -> Result<> {
    while (size > 0) {
      const ssize_t got = pread(options_.image, piece.data(), std::min<uint64_t>(size, PIECE), off_t(from));
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return got < 0 ? fail("pread", "image") : fail(EUCLEAN, "pread", "image", "it became shorter");
      if (auto done = head.append({piece.data(), size_t(got)}); !done)
        return done;
      from += uint64_t(got);
      size -= uint64_t(got);
    }
    return Nothing{};
  };
  for (Run run : runs) {
    if (run.size >= RUN_BY_KERNEL) {
      const uint64_t first = (ALIGNMENT - run.from % ALIGNMENT) % ALIGNMENT;
      if (auto done = copyPlain(run.from, first); !done)
        return done;
      if (auto done = head.flush(); !done)
        return done;
      run = {run.from + first, run.size - first, run.to + first};
      uint64_t copied = 0;
      if (auto done = copyByKernel(run, copied); !done)
        return done;
      head.skipTo(run.to + copied);
      run = {run.from + copied, run.size - copied, run.to + copied};
    }
    if (auto done = copyPlain(run.from, run.size); !done)
      return done;
  }
  return head.flush();
}

Result<> Assembly::fill(squash::BlockLine &line) {
  squash::FileStore store(line, key_, gate_, image_.super().blockSize);
  if (auto done = base_.readFiles(store); !done)
    return done;
  if (auto done = upper_.readFiles(store); !done)
    return done;
  for (const auto &[number, content] : added_) {
    auto done = store.begin(content.size());
    if (done)
      done = store.data({reinterpret_cast<const uint8_t *>(content.data()), content.size()});
    if (!done)
      return done;
    auto placed = store.end();
    if (!placed)
      return placed.error();
    squash::Inode &inode = tree_.inode(number);
    inode.size = content.size();
    inode.data = placed->data;
    inode.offset = placed->offset;
  }
  store.flush();
  return line.finish();
}

Result<Assembled> Assembly::run(bool reuse) {
  const Bytes optionsBlock = squash::compressorOptions(compressor_, options_.level);
  squash::Output output(options_.out, squash::SUPER_SIZE);
  if (!optionsBlock.empty()) {
    Bytes block;
    squash::Fields(block)
        .u16(optionsBlock.size() | squash::METADATA_RAW)
        .bytes(optionsBlock.data(), optionsBlock.size());
    if (auto done = output.append(block); !done)
      return done.error();
  }
  if (auto root = owners_.index(0); !root)
    return root.error();
  if (auto done = upper_.scan(); !done)
    return done.error();
  if (auto done = base_.merge(); !done)
    return done.error();
  if (auto done = addFiles(); !done)
    return done.error();
  squash::BlockLine::Adopted adopted;
  std::vector<Run> runs;
  if (auto done = reuse ? base_.plan(output.position(), adopted, runs) : Result<>(Nothing{}); !done)
    return done.error();
  if (auto done = copyRuns(runs, output); !done)
    return done.error();
  squash::BlockLine line(gate_, output,
                         {compressor_, options_.level, image_.super().blockSize, options_.threads});
  line.adopt(std::move(adopted));
  auto filled = line.start();
  if (filled)
    filled = fill(line);
  if (!filled) {
    gate_.stop(filled.error());
    return gate_.error();
  }
  base_.moveEnds(line);
  squash::Tables tables({tree_, owners_, xattrs_, line, output, *codec_, compressor_,
                         image_.super().blockSize, !optionsBlock.empty(), false});
  auto size = tables.write();
  if (!size)
    return size.error();
  if (fsync(options_.out) < 0)
    return fail("fsync", "image");
  uint64_t copied = 0;
  for (const Run &run : runs)
    copied += run.size;
  return Assembled{*size, copied, upper_.bytes() + base_.bytes()};
}

} // namespace

Result<Assembled> assembleImage(const Options &options) {
  unsquash::Limits limits;
  limits.entriesMax = options.entriesMax;
  auto image = unsquash::Image::open(options.image, limits);
  if (!image)
    return image.error();
  const auto same = sameCompressor((*image)->super());
  const Compressor compressor = same.value_or(options.compressor);
  auto codec = squash::Codec::make(compressor, options.level);
  if (!codec)
    return codec.error();
  return Assembly(options, **image, compressor, std::move(*codec)).run(same.has_value());
}

} // namespace berth::assemble
