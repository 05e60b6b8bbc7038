// SPDX-License-Identifier: Apache-2.0
#include "capture.hh"

#include <algorithm>

namespace berth::squash {
namespace {

/** ELOOP's bound in Linux. */
constexpr unsigned LINK_HOPS_MAX = 40;

/** The inode of a path, NONE when there is none. */
uint32_t lookUp(const Tree &tree, std::string_view path) {
  std::vector<std::string> open;
  const auto push = [&](std::string_view text) {
    std::vector<std::string> parts;
    for (; !text.empty(); text.remove_prefix(std::min(text.find('/') + 1, text.size()))) {
      const auto part = text.substr(0, text.find('/'));
      if (!part.empty() && part != ".")
        parts.emplace_back(part);
      if (text.find('/') == std::string_view::npos)
        break;
    }
    open.insert(open.end(), parts.rbegin(), parts.rend());
  };
  push(path);
  uint32_t node = Tree::ROOT;
  unsigned hops = 0;
  while (!open.empty()) {
    const std::string part = std::move(open.back());
    open.pop_back();
    if (part == "..") {
      node = node == Tree::ROOT ? node : tree.node(node).parent;
      continue;
    }
    const uint32_t child = tree.type(node) == Type::dir ? tree.find(node, part) : NONE;
    if (child == NONE || tree.node(child).whiteout())
      return NONE;
    const Inode &inode = tree.inode(tree.resolve(tree.node(child).inode));
    if (inode.type != Type::symlink) {
      node = child;
      continue;
    }
    if (++hops > LINK_HOPS_MAX)
      return NONE;
    const auto target = tree.texts.get(inode.data);
    if (target.starts_with('/'))
      node = Tree::ROOT;
    push(target);
  }
  return tree.resolve(tree.node(node).inode);
}

class BlockReader {
public:
  explicit BlockReader(const Tables::Parts &parts) : parts_(parts), plain_(parts.blockSize) {}

  /** The unpacked block at `start`; it has at most a block's size. */
  Result<std::span<const uint8_t>> read(uint64_t start, uint32_t sizeWord) {
    Bytes stored(sizeWord & (BLOCK_RAW - 1));
    if (auto done = parts_.output.readBack(start, stored); !done)
      return done.error();
    size_t size = stored.size();
    if ((sizeWord & BLOCK_RAW) != 0)
      std::ranges::copy(stored, plain_.begin());
    else if ((size = parts_.codec.decompress(stored, plain_)) == 0)
      return fail(EIO, "squash", {}, "a block just written cannot be read");
    return std::span<const uint8_t>(plain_).first(size);
  }

private:
  const Tables::Parts &parts_;
  Bytes plain_;
};

} // namespace

Result<std::optional<Bytes>> captureFile(const Tables::Parts &parts, std::string_view path, size_t sizeMax) {
  const uint32_t number = lookUp(parts.tree, path);
  if (number == NONE)
    return std::optional<Bytes>();
  const Inode &inode = parts.tree.inode(number);
  if (inode.type != Type::file || inode.size > sizeMax)
    return std::optional<Bytes>();
  Bytes content;
  if (inode.data == NONE)
    return std::optional<Bytes>(content);
  BlockReader reader(parts);
  if (inode.offset != NONE) {
    const auto &fragment = parts.line.fragments()[inode.data];
    auto block = reader.read(fragment.start, fragment.size);
    if (!block)
      return block.error();
    const auto part = block->subspan(inode.offset, inode.size);
    content.assign(part.begin(), part.end());
    return std::optional<Bytes>(std::move(content));
  }
  const auto &file = parts.line.files()[inode.data];
  uint64_t start = file.start;
  Result<> failed = Nothing{};
  eachBlock(parts.line, file, [&](uint32_t word) {
    const size_t size = std::min<size_t>(parts.blockSize, inode.size - content.size());
    if (!failed)
      return;
    if (word == 0)
      return content.resize(content.size() + size);
    auto block = reader.read(start, word);
    start += word & (BLOCK_RAW - 1);
    if (!block)
      failed = block.error();
    else
      content.insert(content.end(), block->begin(), block->end());
  });
  if (!failed)
    return failed.error();
  return std::optional<Bytes>(std::move(content));
}

} // namespace berth::squash
