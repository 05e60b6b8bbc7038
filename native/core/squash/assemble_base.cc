// SPDX-License-Identifier: Apache-2.0
#include "assemble_base.hh"

#include <algorithm>

namespace berth::assemble {

using squash::HOLE_RUN;
using squash::NONE;
using squash::Tree;
using squash::Type;

namespace {

constexpr unsigned BASE_LAYER = 0;

std::string_view parentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view nameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

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

Result<uint32_t> Base::xattrs(const unsquash::Inode &inode) {
  if (inode.xattr == unsquash::kNone)
    return NONE;
  if (const auto known = xattrSets_.find(inode.xattr); known != xattrSets_.end())
    return known->second;
  auto read = image_.xattrs(inode);
  if (!read)
    return read.error();
  std::vector<squash::Xattr> kept;
  for (auto &xattr : *read)
    kept.push_back({std::move(xattr.name), std::move(xattr.value)});
  auto index = xattrs_.index(std::move(kept));
  if (index)
    xattrSets_.emplace(inode.xattr, *index);
  return index;
}

Result<squash::Inode> Base::convert(const unsquash::Inode &from) {
  auto uid = owners_.index(from.uid);
  auto gid = owners_.index(from.gid);
  if (!uid || !gid)
    return uid ? gid.error() : uid.error();
  auto set = xattrs(from);
  if (!set)
    return set.error();
  squash::Inode inode;
  inode.type = static_cast<Type>(from.type);
  inode.mode = from.mode;
  inode.uid = *uid;
  inode.gid = *gid;
  inode.mtime = from.mtime;
  inode.xattrs = *set;
  if (inode.type == Type::file || inode.type == Type::symlink)
    inode.size = from.size;
  if (inode.type == Type::symlink)
    inode.data = tree_.texts.add(from.target);
  else if (inode.type == Type::block || inode.type == Type::character)
    inode.data = from.device;
  return inode;
}

/** The first name of an inode makes it, further ones are links to it. */
Result<> Base::place(uint32_t node, const unsquash::Inode &from) {
  uint32_t &known = inodes_[from.number];
  if (known == NONE || from.type == unsquash::Type::directory) {
    auto inode = convert(from);
    if (!inode)
      return inode.error();
    known = tree_.addInode();
    tree_.inode(known) = *inode;
  }
  tree_.node(node).inode = known;
  if (fileOf_[from.number] != NONE)
    files_[fileOf_[from.number]].inode = known;
  return Nothing{};
}

bool Base::holdsNothing(uint32_t node) const {
  for (uint32_t child = tree_.node(node).child; child != NONE; child = tree_.node(child).next)
    if (!upper_.isOwn(child) || !holdsNothing(child))
      return false;
  return true;
}

Result<> Base::add(const unsquash::Entry &entry) {
  const unsquash::Inode &inode = entry.inode;
  const bool directory = inode.type == unsquash::Type::directory;
  if (inode.type == unsquash::Type::file && inode.size > 0 && fileOf_[inode.number] == NONE) {
    fileOf_[inode.number] = uint32_t(files_.size());
    files_.push_back(
        {inode.size, inode.dataStart, inode.blocks, inode.tail, inode.fragment, inode.fragmentOffset, NONE});
  }
  uint32_t node = Tree::ROOT;
  if (!entry.path.empty()) {
    const std::string_view above = parentOf(entry.path), name = nameOf(entry.path);
    while (levels_.size() > 1 && levels_.back().path != above)
      levels_.pop_back();
    const uint32_t parent = levels_.back().node;
    node = parent == NONE ? NONE : tree_.find(parent, name);
    if (parent != NONE && node == NONE) {
      node = tree_.add(parent, name, BASE_LAYER);
      if (auto placed = place(node, inode); !placed)
        return placed;
    } else if (node != NONE && !directory && upper_.isOwn(node) && holdsNothing(node)) {
      if (auto placed = place(node, inode); !placed)
        return placed;
    } else if (node != NONE && directory && tree_.type(node) == Type::dir && !upper_.isOpaque(node)) {
      auto own = convert(inode);
      if (!own)
        return own.error();
      merged_.push_back({node, *own});
    } else {
      node = NONE;
    }
    if (directory)
      levels_.push_back({entry.path, node});
    return Nothing{};
  }
  levels_.push_back({"", node});
  auto own = convert(inode);
  if (own)
    merged_.push_back({node, *own});
  return own ? Result<>(Nothing{}) : own.error();
}

/** Making a mount point touches the directory it is in; saved, it shall look as if that had never been. */
void Base::restoreMetadata() {
  std::vector<bool> merged(tree_.nodeCount());
  for (const Merged &one : merged_)
    merged[one.node] = true;
  const auto isChange = [&](uint32_t child) {
    return upper_.has(child) && !merged[child] && !(upper_.isOwn(child) && holdsNothing(child));
  };
  for (const Merged &one : merged_) {
    squash::Inode &inode = tree_.inode(tree_.node(one.node).inode);
    bool changed = inode.mode != one.inode.mode;
    for (uint32_t child = tree_.node(one.node).child; child != NONE && !changed;
         child = tree_.node(child).next)
      changed = isChange(child);
    if (!changed)
      inode = one.inode;
  }
  // A mount point in which nothing came to be is not in the image; the tables leave such directories out.
  for (uint32_t node = 0; node < tree_.nodeCount() && upper_.has(node); node++)
    if (upper_.isOwn(node) && !merged[node])
      tree_.node(node).implicit = true;
}

Result<> Base::merge() {
  inodes_.assign(size_t{image_.super().inodes} + 1, NONE);
  fileOf_.assign(size_t{image_.super().inodes} + 1, NONE);
  Result<> done = Nothing{};
  auto walked = image_.walk([&](const unsquash::Entry &entry) {
    done = tree_.nodeCount() > options_.entriesMax
               ? fail(EFBIG, "assemble", entry.path, "the container has too many files")
               : add(entry);
    return done.ok();
  });
  if (!walked || !done)
    return walked ? done : walked.error();
  restoreMetadata();
  return Nothing{};
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
