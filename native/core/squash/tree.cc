// SPDX-License-Identifier: Apache-2.0
#include "tree.hh"

#include <cstring>
#include <utility>

namespace berth::squash {

uint32_t Texts::add(std::string_view text) {
  const auto size = uint16_t(text.size());
  if (used_ + sizeof size + size > CHUNK_SIZE) {
    chunks_.push_back(source_.take());
    used_ = 0;
  }
  uint8_t *to = chunks_.back() + used_;
  std::memcpy(to, &size, sizeof size);
  std::memcpy(to + sizeof size, text.data(), size);
  const uint32_t handle = uint32_t(chunks_.size() - 1) << CHUNK_BITS | used_;
  used_ += uint32_t(sizeof size + size);
  return handle;
}

std::string_view Texts::get(uint32_t handle) const {
  const uint8_t *from = chunks_[handle >> CHUNK_BITS] + (handle & (CHUNK_SIZE - 1));
  uint16_t size;
  std::memcpy(&size, from, sizeof size);
  return {reinterpret_cast<const char *>(from) + sizeof size, size};
}

void Texts::clear() {
  for (auto *chunk : chunks_)
    source_.giveBack(chunk);
  chunks_.clear();
  used_ = CHUNK_SIZE;
}

Tree::Tree(const HashKey &key, Chunks &chunks) : texts(chunks), key_(key), nodes_(chunks), inodes_(chunks) {
  auto &root = nodes_.add({});
  root.name = texts.add("");
  root.inode = addInode();
  root.implicit = true;
  inodes_[root.inode].type = Type::dir;
  inodes_[root.inode].mode = 0755;
}

uint32_t Tree::find(uint32_t parent, std::string_view name) const {
  return names_.find(key_.name(parent, name), [&](uint32_t number) {
    return nodes_[number].parent == parent && texts.get(nodes_[number].name) == name;
  });
}

uint32_t Tree::add(uint32_t parent, std::string_view name, unsigned layer) {
  const auto number = uint32_t(nodes_.size());
  Node &node = nodes_.add({});
  node.parent = parent;
  node.name = texts.add(name);
  node.layer = uint16_t(layer);
  node.next = std::exchange(nodes_[parent].child, number);
  names_.add(key_.name(parent, name), number,
             [&](uint32_t other) { return key_.name(nodes_[other].parent, texts.get(nodes_[other].name)); });
  return number;
}

uint32_t Tree::addInode() {
  inodes_.add({});
  return uint32_t(inodes_.size() - 1);
}

uint32_t Tree::resolve(uint32_t inode) const {
  while (inodes_[inode].type == Type::none && inodes_[inode].data != NONE)
    inode = inodes_[inode].data;
  return inode;
}

std::string Tree::path(uint32_t number) const {
  std::string path;
  for (; number != ROOT; number = nodes_[number].parent)
    path = path.empty() ? std::string(name(number)) : std::string(name(number)) + "/" + path;
  return path;
}

void Tree::drop(uint32_t top, unsigned layer) {
  std::vector<uint32_t> open{top};
  while (!open.empty()) {
    const uint32_t number = open.back();
    open.pop_back();
    for (uint32_t child = nodes_[number].child; child != NONE; child = nodes_[child].next) {
      if (nodes_[child].layer == layer)
        nodes_[child].inode = NONE;
      open.push_back(child);
    }
  }
}

} // namespace berth::squash
