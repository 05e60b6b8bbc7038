// SPDX-License-Identifier: Apache-2.0
#include "verify_tree.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

/** The smallest inode, a pipe: what every inode needs in the table. */
constexpr uint64_t kInodeSizeMin = 20;

} // namespace

Tree::Tree(const Source &source, const Layout &layout, const Limits &limits)
    : source_(source), layout_(layout), limits_(limits),
      unpacker_(layout.super.compressor, layout.super.blockSize) {
  const uint64_t inodes = layout.super.inodes;
  if (inodes * kInodeSizeMin > layout.inodes.capacity())
    refuse("superblock", 4, std::to_string(inodes) + " inodes, more than the inode table can hold");
  nodes_.resize(inodes + 1);
}

void Tree::add(const MetaCursor &at, const Inode &inode) {
  Node &node = nodes_[inode.number];
  if (node.type != 0)
    at.refuse("inode number " + std::to_string(inode.number) + " for the second time");
  node.position = inode.position;
  node.type = static_cast<uint64_t>(inode.type);
  node.links = inode.links;
  if (inode.type != Type::directory)
    return;
  node.links = inode.parent;
  const uint64_t listing =
      inode.size == 0 ? 0 : layout_.directories.linear(inode.listBlock, inode.listOffset);
  directories_.push_back({listing, inode.position});
}

uint64_t Tree::check() {
  if (layout_.exports.count != 0)
    checkExports();
  checkRoot();
  std::ranges::sort(directories_, {}, [](const Directory &d) { return std::pair(d.listing, d.inode); });
  MetaCursor inodes(source_, layout_.inodes, unpacker_);
  MetaCursor names(source_, layout_.directories, unpacker_);
  for (const Directory &directory : directories_)
    checkDirectory(inodes, names, directory);
  checkLinks();
  checkDepth();
  return names_;
}

void Tree::checkExports() {
  MetaCursor cursor(source_, layout_.exports.table, unpacker_);
  for (uint32_t number = 1; number <= layout_.super.inodes; number++) {
    const uint64_t reference = cursor.u64();
    if (layout_.inodes.linear(reference >> 16, reference & 0xffff) != nodes_[number].position)
      cursor.refuse("the record of inode " + std::to_string(number) + " points elsewhere");
  }
  if (!cursor.atEnd())
    cursor.refuse("bytes after the last record");
}

void Tree::checkRoot() {
  constexpr size_t field = 32;
  const uint64_t position = layout_.inodes.linear(layout_.super.root >> 16, layout_.super.root & 0xffff);
  // Not read there: a reference into the middle of an inode could look like one.
  const auto found = std::ranges::find(directories_, position, &Directory::inode);
  if (found == directories_.end())
    refuse("superblock", field, "the root is not a directory");
  MetaCursor cursor(source_, layout_.inodes, unpacker_);
  cursor.seek(position);
  const Inode root = readInode(cursor, layout_);
  root_ = root.number;
  // mksquashfs says one more than there are inodes, others 0 or the root itself.
  if (root.parent != 0 && root.parent != root.number && root.parent != uint64_t{layout_.super.inodes} + 1)
    cursor.refuse("the root has a parent");
}

void Tree::checkDirectory(MetaCursor &inodes, MetaCursor &names, const Directory &place) {
  inodes.seek(place.inode);
  const Inode directory = readInode(inodes, layout_);
  if (directory.size != 0 && place.listing < listingEnd_)
    inodes.refuse("the directory shares names with another");
  Listing listing(names, layout_, directory);
  uint64_t entries = 0;
  uint64_t subdirectories = 0;
  uint32_t indexesLeft = directory.indexes;
  IndexRecord index{};
  if (indexesLeft > 0)
    index = readIndexRecord(inodes);
  for (Name entry; listing.next(entry);) {
    noteName(names, directory, entry);
    entries++;
    subdirectories += entry.type == Type::directory ? 1 : 0;
    if (indexesLeft == 0 || !entry.startsRun || listing.runOffset() != index.offset)
      continue;
    const uint64_t block = (place.listing + index.offset) / kMetaSize;
    if (index.block != layout_.directories.blocks[block] || index.name != entry.name)
      inodes.refuse("the directory's index does not lead to \"" + entry.name + "\"");
    if (--indexesLeft > 0)
      index = readIndexRecord(inodes);
  }
  if (indexesLeft > 0)
    inodes.refuse("the directory's index points between runs of names");
  // The kernel's tools count subdirectories, squashfs-tools-ng counts entries.
  if (directory.links != subdirectories + 2 && directory.links != entries + 2)
    inodes.refuse("directory with " + std::to_string(directory.links) + " links");
  if (directory.size != 0)
    listingEnd_ = place.listing + directory.size;
}

void Tree::noteName(const MetaCursor &names, const Inode &directory, const Name &entry) {
  Node &node = nodes_[entry.number];
  if (++names_ >= limits_.entriesMax)
    overLimit("names", names_, limits_.entriesMax);
  if (node.position != entry.inode)
    names.refuse("\"" + entry.name + "\" names inode " + std::to_string(entry.number) + " at another place");
  if (node.type != static_cast<uint64_t>(entry.type))
    names.refuse("\"" + entry.name + "\" has another type than its inode");
  node.seen++;
  if (entry.type != Type::directory)
    return;
  if (node.seen > 1)
    names.refuse("\"" + entry.name + "\" is a second name of a directory");
  if (node.links != directory.number)
    names.refuse("directory \"" + entry.name + "\" has another parent");
}

void Tree::checkLinks() {
  for (uint32_t number = 1; number < nodes_.size(); number++) {
    const Node &node = nodes_[number];
    uint32_t expected = node.links;
    if (node.type == static_cast<uint64_t>(Type::directory))
      expected = number == root_ ? 0 : 1;
    if (node.seen != expected)
      refuse("inode table", layout_.inodes.start + layout_.inodes.blocks[node.position / kMetaSize],
             "inode " + std::to_string(number) + " has " + std::to_string(node.seen) + " names instead of " +
                 std::to_string(expected));
  }
}

void Tree::checkDepth() {
  // Every directory has one name, so going up from each either ends at the root or goes round for ever.
  std::vector<uint16_t> depths(nodes_.size());
  std::vector<uint32_t> way;
  for (uint32_t number = 1; number < nodes_.size(); number++) {
    if (nodes_[number].type != static_cast<uint64_t>(Type::directory))
      continue;
    way.clear();
    uint32_t at = number;
    for (; at != root_ && depths[at] == 0; at = nodes_[at].links) {
      way.push_back(at);
      if (way.size() > limits_.depthMax)
        overLimit("directories below each other, or in a circle", way.size(), limits_.depthMax);
    }
    uint32_t depth = depths[at];
    for (auto it = way.rbegin(); it != way.rend(); ++it)
      depths[*it] = static_cast<uint16_t>(++depth);
    if (depth > limits_.depthMax)
      overLimit("directories below each other", depth, limits_.depthMax);
  }
}

} // namespace berth::unsquash
