// SPDX-License-Identifier: Apache-2.0
#include "assemble_base.hh"

#include <algorithm>

namespace berth::assemble {

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

} // namespace

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
    files_.keep(fileOf_[from.number], known);
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
  if (inode.type == unsquash::Type::file && inode.size > 0 && fileOf_[inode.number] == NONE)
    fileOf_[inode.number] = files_.add(inode);
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

} // namespace berth::assemble
