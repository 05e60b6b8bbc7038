// SPDX-License-Identifier: Apache-2.0
#include "tables.hh"

#include <algorithm>

namespace berth::squash {
namespace {

/** The inode table goes to the file in pieces of this size, the directory table waits in memory for its
 * place. */
constexpr size_t DRAIN_SIZE = 256 * 1024;

} // namespace

/**
 * Which names are in the image. Directories that nobody described and that hold nothing are left over from
 * whiteouts in directories that no layer has. Children have higher numbers than their parents.
 */
void Tables::findLive() {
  const Tree &tree = parts_.tree;
  live_.assign(tree.nodeCount(), false);
  for (auto number = uint32_t(tree.nodeCount()); number-- > 0;) {
    const Node &node = tree.node(number);
    const Type type = tree.type(number);
    if (node.whiteout() || (type == Type::dir && node.implicit && !live_[number] && number != Tree::ROOT)) {
      live_[number] = false;
      continue;
    }
    live_[number] = true;
    if (number != Tree::ROOT && tree.type(node.parent) == Type::dir)
      live_[node.parent] = true;
  }
}

/** A directory's live children in the byte order of their names; the first time the tree is put into that
 * order. */
Tables::Frame Tables::enter(uint32_t number, bool fresh) {
  Tree &tree = parts_.tree;
  Frame frame{number, children_.size(), children_.size(), 0};
  for (uint32_t child = tree.node(number).child; child != NONE; child = tree.node(child).next)
    if (live_[child])
      children_.push_back(child);
  frame.end = children_.size();
  if (!fresh)
    return frame;
  std::sort(children_.begin() + ptrdiff_t(frame.first), children_.end(),
            [&](uint32_t a, uint32_t b) { return tree.name(a) < tree.name(b); });
  uint32_t *link = &tree.node(number).child;
  for (size_t i = frame.first; i < frame.end; i++) {
    *link = children_[i];
    link = &tree.node(children_[i]).next;
  }
  *link = NONE;
  return frame;
}

/** Inodes of one directory get numbers in a row: listings hold 16-bit differences. */
void Tables::number(const Frame &frame) {
  Tree &tree = parts_.tree;
  for (size_t i = frame.first; i < frame.end; i++) {
    Node &node = tree.node(children_[i]);
    node.inode = tree.resolve(node.inode);
    Inode &inode = tree.inode(node.inode);
    if (inode.number == 0)
      inode.number = ++count_;
    newest_ = std::max(newest_, inode.mtime);
    if (inode.type != Type::dir) {
      inode.nlink++;
      continue;
    }
    inode.nlink = 2;
    tree.inode(tree.node(frame.node).inode).nlink++;
  }
}

/** Depth first: a subtree's metadata lies together, and every child is written before its directory. */
Result<> Tables::walk(bool write) {
  std::vector<Frame> stack;
  children_.clear();
  const auto open = [&](uint32_t node) {
    stack.push_back(enter(node, !write));
    if (!write)
      number(stack.back());
  };
  open(Tree::ROOT);
  while (!stack.empty()) {
    Frame &frame = stack.back();
    while (frame.next < frame.end && parts_.tree.type(children_[frame.next]) != Type::dir)
      frame.next++;
    if (frame.next < frame.end) {
      open(children_[frame.next++]);
      continue;
    }
    if (write)
      if (auto done = writeDirectory(frame); !done)
        return done;
    children_.resize(frame.first);
    stack.pop_back();
  }
  return Nothing{};
}

Result<> Tables::writeDirectory(const Frame &frame) {
  Tree &tree = parts_.tree;
  for (size_t i = frame.first; i < frame.end; i++) {
    Inode &inode = tree.inode(tree.node(children_[i]).inode);
    if (inode.type != Type::dir && inode.block == NONE)
      writeInode(inode);
  }
  Listing listing(directories_);
  for (size_t i = frame.first; i < frame.end; i++) {
    const Inode &inode = tree.inode(tree.node(children_[i]).inode);
    listing.add(tree.name(children_[i]), uint8_t(inode.type), inode.number, inode.block, inode.blockOffset);
  }
  listing.close();
  // mksquashfs gives the root a parent number that no inode has.
  const uint32_t parent = frame.node == Tree::ROOT
                              ? count_ + 1
                              : tree.inode(tree.node(tree.node(frame.node).parent).inode).number;
  writeDirInode(tree.inode(tree.node(frame.node).inode), parent, listing);
  // 32 bits hold a listing's size and all positions within the two tables.
  if (std::max({listing.size(), directories_.here().block, inodes_.here().block}) > UINT32_MAX - IMAGE_ALIGN)
    return fail(EFBIG, "squash", {}, "the image has too many names for squashfs");
  return inodes_.pending() > DRAIN_SIZE ? inodes_.drain(parts_.output) : Result<>(Nothing{});
}

} // namespace berth::squash
