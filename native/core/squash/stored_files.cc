// SPDX-License-Identifier: Apache-2.0
#include "stored_files.hh"

#include <algorithm>

namespace berth::assemble {

using squash::Compressor;
using squash::HOLE_RUN;
using squash::NONE;

namespace {

constexpr uint16_t RAW_EVERYTHING = 0x000b;

} // namespace

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

uint32_t StoredFiles::add(const unsquash::Inode &inode) {
  files_.push_back(
      {inode.size, inode.dataStart, inode.blocks, inode.tail, inode.fragment, inode.fragmentOffset});
  return uint32_t(files_.size() - 1);
}

void StoredFiles::keep(uint32_t file, uint32_t inode) {
  if (files_[file].inode != NONE && files_[file].inode != inode) {
    files_.push_back(files_[file]);
    file = uint32_t(files_.size() - 1);
  }
  files_[file].inode = inode;
}

/** A fragment block stays when all files in it do; otherwise those that stay are stored again. */
Result<> StoredFiles::planFragments() {
  const uint32_t count = image_.super().fragments;
  const uint64_t blockSize = image_.super().blockSize;
  std::vector<bool> used(count);
  std::vector<uint64_t> ends(count);
  dead_.assign(count, false);
  for (const File &file : files_)
    if (file.fragment != NONE) {
      used[file.fragment] = true;
      ends[file.fragment] = std::max(ends[file.fragment], file.fragmentOffset + file.size % blockSize);
      if (file.inode == NONE)
        dead_[file.fragment] = true;
    }
  fragmentNumbers_.assign(count, NONE);
  for (uint32_t i = 0; i < count; i++) {
    if (!used[i] || dead_[i])
      continue;
    auto fragment = image_.fragment(i);
    if (!fragment)
      return fragment.error();
    // What is compressed would have to be unpacked to know: readers meet that in this image as in the other.
    if ((fragment->size & unsquash::kDataStored) != 0 && ends[i] > (fragment->size & unsquash::kDataSizeMask))
      return fail(EUCLEAN, "squash", {}, "a file of the stored image reaches beyond its fragment");
    fragmentNumbers_[i] = uint32_t(fragments_.size());
    fragments_.push_back(*fragment);
    runs_.push_back({fragment->start, fragment->size & unsquash::kDataSizeMask, 0});
  }
  return Nothing{};
}

unsquash::Inode StoredFiles::inodeOf(const File &file) {
  unsquash::Inode inode;
  inode.type = unsquash::Type::file;
  inode.size = file.size;
  inode.dataStart = file.start;
  inode.blocks = file.blocks;
  inode.tail = file.tail;
  inode.fragment = file.fragment;
  inode.fragmentOffset = file.fragmentOffset;
  return inode;
}

Result<> StoredFiles::planBlocks(File &file) {
  auto blocks = image_.blocks(inodeOf(file));
  if (!blocks)
    return blocks.error();
  auto &words = adopted_.words;
  squash::StoredFile stored{.start = file.start, .firstWord = words.size()};
  uint64_t size = 0;
  for (const unsquash::Block &block : *blocks) {
    const bool hole = block.word == 0;
    if (hole && stored.words > 0 && (words.back() & HOLE_RUN) != 0) {
      words.back()++;
      continue;
    }
    words.push_back(hole ? HOLE_RUN | 1 : block.word);
    stored.words++;
    size += block.size();
  }
  // Of holes alone nothing is stored anywhere.
  if (size > 0)
    runs_.push_back({file.start, size, 0});
  else
    stored.start = 0;
  if (file.fragment != NONE && !isDead(file)) {
    stored.fragment = fragmentNumbers_[file.fragment];
    stored.fragmentOffset = file.fragmentOffset;
  }
  file.stored = uint32_t(adopted_.files.size());
  adopted_.files.push_back(stored);
  return Nothing{};
}

Result<> StoredFiles::plan() {
  planned_ = true;
  if (auto done = planFragments(); !done)
    return done;
  for (File &file : files_)
    if (file.inode != NONE && file.blocks > 0)
      if (auto done = planBlocks(file); !done)
        return done;
  return Nothing{};
}

void StoredFiles::settle(uint64_t start, uint32_t firstFile, uint32_t firstFragment) {
  settleRuns(runs_, start);
  for (auto &file : adopted_.files) {
    file.start = file.start == 0 ? 0 : placeOf(runs_, file.start);
    if (file.fragment != NONE)
      file.fragment += firstFragment;
  }
  for (const auto &fragment : fragments_)
    adopted_.fragments.push_back({placeOf(runs_, fragment.start), fragment.size});
  for (const File &file : files_) {
    if (file.inode == NONE)
      continue;
    squash::Inode &inode = tree_.inode(file.inode);
    if (file.blocks > 0) {
      inode.data = firstFile + file.stored;
    } else if (!isDead(file)) {
      inode.data = firstFragment + fragmentNumbers_[file.fragment];
      inode.offset = file.fragmentOffset;
    }
  }
}

uint64_t StoredFiles::copied() const {
  uint64_t sum = 0;
  for (const Run &run : runs_)
    sum += run.size;
  return sum;
}

Result<> StoredFiles::readFile(const File &file, squash::FileStore &store) {
  const unsquash::Inode inode = inodeOf(file);
  const uint64_t wanted = planned_ ? file.size - file.blocks * image_.super().blockSize : file.size;
  bytes_ += wanted;
  if (bytes_ > bytesMax_)
    return fail(EFBIG, "assemble", {}, "the image is too large to be compressed again");
  if (auto begun = store.begin(wanted); !begun)
    return begun;
  Result<> done = Nothing{};
  if (wanted < file.size) {
    std::vector<uint8_t> end(wanted);
    auto got = image_.read(inode, file.size - wanted, end);
    if (!got)
      return got.error();
    done = store.data(end);
  } else {
    auto read = image_.content(inode, [&](std::span<const uint8_t> piece) {
      if (done)
        done = store.data(piece);
    });
    if (!read)
      return read;
  }
  if (!done)
    return done;
  auto placed = store.end();
  if (!placed)
    return placed.error();
  if (wanted < file.size) {
    moved_.push_back({file.inode, placed->data, placed->offset});
  } else {
    squash::Inode &target = tree_.inode(file.inode);
    target.data = placed->data;
    target.offset = placed->offset;
  }
  return Nothing{};
}

Result<> StoredFiles::readFiles(squash::FileStore &store) {
  std::vector<const File *> chosen;
  for (const File &file : files_)
    if (file.inode != NONE && (!planned_ || isDead(file)))
      chosen.push_back(&file);
  // Neighbours in a fragment after each other: it is unpacked once.
  if (planned_)
    std::ranges::stable_sort(
        chosen, {}, [](const File *file) { return uint64_t{file->fragment} << 32 | file->fragmentOffset; });
  for (const File *file : chosen)
    if (auto done = readFile(*file, store); !done)
      return done;
  return Nothing{};
}

void StoredFiles::moveEnds(squash::BlockLine &line) const {
  for (const Moved &moved : moved_)
    line.moveEnd(tree_.inode(moved.inode).data, moved.fragment, moved.offset);
}

} // namespace berth::assemble
