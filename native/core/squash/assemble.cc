// SPDX-License-Identifier: Apache-2.0
#include "assemble.hh"

#include <algorithm>
#include <optional>
#include <unistd.h>

#include "assemble_base.hh"
#include "tables.hh"
#include "thread.hh"
#include "waits_for_disk.hh"

namespace berth::assemble {

using squash::Bytes;
using squash::Compressor;
using squash::NONE;
using squash::Tree;
using squash::Type;

namespace {

constexpr unsigned ADDED_LAYER = 2;

class Assembly {
public:
  Assembly(const Options &options, unsquash::Image &image, Compressor compressor,
           std::unique_ptr<squash::Codec> codec)
      : options_(options), image_(image), compressor_(compressor), codec_(std::move(codec)),
        tree_(key_, chunks_), xattrs_(key_, chunks_), upper_(options, tree_, owners_, xattrs_),
        base_(options, image, tree_, owners_, xattrs_, upper_) {}

  Result<Assembled> run(bool reuse);

private:
  Result<> addFiles();
  uint32_t rootTime() const { return tree_.inode(tree_.node(Tree::ROOT).inode).mtime; }
  Result<uint32_t> addDirectories(std::string_view path);
  Result<> fill(squash::BlockLine &line);
  Result<> startCopy(squash::Output &output, squash::BlockLine &line, squash::Thread &copy);

  const Options &options_;
  unsquash::Image &image_;
  Compressor compressor_;
  std::unique_ptr<squash::Codec> codec_;
  squash::Gate gate_;
  squash::HashKey key_;
  squash::Chunks chunks_;
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

Result<> Assembly::addFiles() {
  for (const Added &file : options_.add) {
    const size_t slash = file.path.rfind('/');
    const bool deep = slash != std::string::npos;
    auto parent = addDirectories(std::string_view(file.path).substr(0, deep ? slash : 0));
    if (!parent)
      return parent.error();
    const std::string name = deep ? file.path.substr(slash + 1) : file.path;
    if (*parent == NONE || name.empty())
      continue;
    uint32_t node = tree_.find(*parent, name);
    if (node != NONE && (!file.replace || tree_.type(node) == Type::dir))
      continue;
    const uint32_t inode = tree_.addInode();
    tree_.inode(inode) = {.type = Type::file, .mode = 0644, .mtime = rootTime()};
    if (node == NONE)
      node = tree_.add(*parent, name, ADDED_LAYER);
    tree_.node(node).inode = inode;
    added_.emplace_back(inode, file.content);
  }
  return Nothing{};
}

/**
 * Blocks that stay are copied meanwhile: where little has changed that takes as long as all the rest. What is
 * written after them goes behind their end, which is known.
 */
Result<> Assembly::startCopy(squash::Output &output, squash::BlockLine &line, squash::Thread &copy) {
  StoredFiles &files = base_.files();
  if (auto done = files.plan(); !done)
    return done;
  files.settle(output.position(), 0, 0);
  line.adopt(files.takeAdopted());
  const auto &runs = files.runs();
  if (auto done = output.flush(); !done || runs.empty())
    return done;
  const uint64_t from = output.position();
  output.skipTo(runs.back().to + runs.back().size);
  return copy.start(gate_, [this, &runs, from] {
    squash::Output own(options_.out, from);
    const Disk disk = squash::waitsForDisk(options_.out, options_.durable) ? Disk::begins : Disk::later;
    if (auto done = copyRuns(options_.image, options_.out, runs, own, disk); !done)
      gate_.stop(done.error());
  });
}

Result<> Assembly::fill(squash::BlockLine &line) {
  squash::FileStore store(line, key_, gate_, chunks_, image_.super().blockSize);
  if (auto done = base_.files().readFiles(store); !done)
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
  squash::BlockLine line(gate_, output,
                         {compressor_, options_.level, image_.super().blockSize, options_.threads});
  squash::Thread copy;
  if (auto done = reuse ? startCopy(output, line, copy) : Result<>(Nothing{}); !done)
    return done.error();
  auto filled = line.start();
  if (filled)
    filled = fill(line);
  if (!filled) {
    gate_.stop(filled.error());
    return gate_.error();
  }
  base_.files().moveEnds(line);
  squash::Tables tables({tree_, owners_, xattrs_, line, output, *codec_, chunks_, compressor_,
                         image_.super().blockSize, !optionsBlock.empty(), false});
  auto size = tables.write();
  if (!size)
    return size.error();
  copy.join();
  if (gate_.stopped())
    return gate_.error();
  if (squash::waitsForDisk(options_.out, options_.durable) && fsync(options_.out) < 0)
    return fail("fsync", "image");
  return Assembled{*size, base_.files().copied(), upper_.bytes() + base_.files().bytes()};
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
