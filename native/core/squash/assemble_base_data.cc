// SPDX-License-Identifier: Apache-2.0
/** The part of Base that decides which blocks are copied, and reads those that cannot be. */
#include "assemble_base.hh"

#include <algorithm>

namespace berth::assemble {

using squash::HOLE_RUN;
using squash::NONE;

namespace {

/** Ascending, without overlaps and gaps; then each gets its place. */
void settleRuns(std::vector<Run> &runs, uint64_t start) {
  std::ranges::sort(runs, {}, &Run::from);
  size_t last = 0;
  for (size_t i = 1; i < runs.size(); i++) {
    if (runs[i].from > runs[last].from + runs[last].size)
      runs[++last] = runs[i];
    else
      runs[last].size = std::max(runs[last].size, runs[i].from + runs[i].size - runs[last].from);
  }
  if (!runs.empty())
    runs.resize(last + 1);
  for (Run &run : runs) {
    run.to = start;
    start += run.size;
  }
}

} // namespace

uint64_t placeOf(const std::vector<Run> &runs, uint64_t from) {
  const auto after = std::ranges::upper_bound(runs, from, {}, &Run::from);
  const Run &run = *std::prev(after);
  return run.to + (from - run.from);
}

/** A fragment block stays when all files in it do; otherwise those that stay are stored again. */
Result<> Base::planFragments(std::vector<uint32_t> &numbers, std::vector<Run> &runs) {
  const uint32_t count = image_.super().fragments;
  std::vector<bool> used(count);
  dead_.assign(count, false);
  for (const File &file : files_)
    if (file.fragment != NONE) {
      used[file.fragment] = true;
      if (file.inode == NONE)
        dead_[file.fragment] = true;
    }
  numbers.assign(count, NONE);
  for (uint32_t i = 0; i < count; i++) {
    if (!used[i] || dead_[i])
      continue;
    auto fragment = image_.fragment(i);
    if (!fragment)
      return fragment.error();
    numbers[i] = uint32_t(fragments_.size());
    fragments_.push_back(*fragment);
    runs.push_back({fragment->start, fragment->size & unsquash::kDataSizeMask, 0});
  }
  return Nothing{};
}

unsquash::Inode Base::inodeOf(const File &file) {
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

Result<> Base::planBlocks(const File &file, squash::BlockLine::Adopted &adopted, std::vector<Run> &runs) {
  auto blocks = image_.blocks(inodeOf(file));
  if (!blocks)
    return blocks.error();
  squash::StoredFile stored{.start = file.start, .firstWord = adopted.words.size()};
  uint64_t size = 0;
  for (const unsquash::Block &block : *blocks) {
    auto &words = adopted.words;
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
    runs.push_back({file.start, size, 0});
  else
    stored.start = 0;
  adopted.files.push_back(stored);
  return Nothing{};
}

Result<> Base::plan(uint64_t start, squash::BlockLine::Adopted &adopted, std::vector<Run> &runs) {
  planned_ = true;
  std::vector<uint32_t> numbers;
  if (auto done = planFragments(numbers, runs); !done)
    return done;
  for (const File &file : files_) {
    if (file.inode == NONE)
      continue;
    squash::Inode &inode = tree_.inode(file.inode);
    const uint32_t fragment = file.fragment == NONE ? NONE : numbers[file.fragment];
    if (file.blocks == 0) {
      inode.data = fragment;
      inode.offset = file.fragmentOffset;
      continue;
    }
    inode.data = uint32_t(adopted.files.size());
    if (auto done = planBlocks(file, adopted, runs); !done)
      return done;
    adopted.files.back().fragment = fragment;
    adopted.files.back().fragmentOffset = fragment == NONE ? 0 : file.fragmentOffset;
  }
  settleRuns(runs, start);
  for (auto &file : adopted.files)
    file.start = file.start == 0 ? 0 : placeOf(runs, file.start);
  for (const auto &fragment : fragments_)
    adopted.fragments.push_back({placeOf(runs, fragment.start), fragment.size});
  return Nothing{};
}

Result<> Base::readFile(const File &file, squash::FileStore &store) {
  const unsquash::Inode inode = inodeOf(file);
  const uint64_t wanted = planned_ ? file.size - file.blocks * image_.super().blockSize : file.size;
  bytes_ += wanted;
  if (bytes_ > options_.bytesMax)
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
  squash::Inode &target = tree_.inode(file.inode);
  if (wanted < file.size) {
    moved_.push_back({target.data, placed->data, placed->offset});
  } else {
    target.data = placed->data;
    target.offset = placed->offset;
  }
  return Nothing{};
}

Result<> Base::readFiles(squash::FileStore &store) {
  std::vector<const File *> chosen;
  for (const File &file : files_)
    if (file.inode != NONE && (!planned_ || (file.fragment != NONE && dead_[file.fragment])))
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

void Base::moveEnds(squash::BlockLine &line) const {
  for (const Moved &moved : moved_)
    line.moveEnd(moved.file, moved.fragment, moved.offset);
}

} // namespace berth::assemble
