// SPDX-License-Identifier: Apache-2.0
/** Names of a layer's entries to places in the tree. */
#include "merger.hh"

namespace berth::squash {
namespace {

/** Components without `.`; `..` takes the one before away and stops at the root, as path.Clean("/" + name)
 * does. */
std::vector<std::string_view> cleanPath(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    const auto part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".")
      continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty())
      parts.pop_back();
  }
  return parts;
}

std::string joined(const std::string &path, std::string_view component) {
  return path.empty() ? std::string(component) : path + "/" + std::string(component);
}

} // namespace

/** aufs' own files, which old docker versions left in layers. */
bool Merger::isInternal(std::string_view path) {
  constexpr std::string_view MARK = ".wh..wh.";
  for (size_t at = path.find(MARK); at != std::string_view::npos; at = path.find(MARK, at + 1))
    if ((at == 0 || path[at - 1] == '/') && path.substr(at) != ".wh..wh..opq")
      return true;
  return false;
}

uint32_t Merger::makeImplicit(uint32_t parent, std::string_view component) {
  Tree &tree = parts_.tree;
  const uint32_t number = tree.add(parent, component, layer_);
  Node &node = tree.node(number);
  node.inode = tree.addInode();
  node.implicit = true;
  tree.inode(node.inode).type = Type::dir;
  tree.inode(node.inode).mode = 0755;
  entries_++;
  return number;
}

/** The directory `component` of `parent`; HIDDEN, MISSING, or a symlink's node which the caller follows. */
Result<uint32_t> Merger::descend(Walk &walk, uint32_t parent, std::string_view component) {
  Tree &tree = parts_.tree;
  const uint32_t found = tree.find(parent, component);
  if (found == NONE)
    return walk.create ? makeImplicit(parent, component) : MISSING;
  Node &node = tree.node(found);
  if (tree.type(found) == Type::dir)
    return layer_ < node.hiddenBelow ? HIDDEN : found;
  if (node.layer > layer_)
    return HIDDEN;
  if (!node.whiteout())
    return tree.type(found) == Type::symlink || !walk.create
               ? Result<uint32_t>(found)
               : fail(ENOTDIR, "tar", {},
                      "\"" + walk.path + "\" is not a directory, yet the layer has files in it");
  if (!walk.create)
    return MISSING;
  node.inode = tree.addInode();
  node.implicit = node.cut = true;
  node.hiddenBelow = uint16_t(layer_);
  tree.inode(node.inode).type = Type::dir;
  tree.inode(node.inode).mode = 0755;
  return found;
}

Result<> Merger::enter(Walk &walk, std::string_view component) {
  if (component.empty() || component == ".")
    return Nothing{};
  if (component == "..") {
    if (walk.nodes.size() > 1) {
      walk.nodes.pop_back();
      const auto slash = walk.path.rfind('/');
      walk.path.resize(slash == std::string::npos ? 0 : slash);
    }
    return Nothing{};
  }
  if (component.size() > NAME_SIZE_MAX || walk.nodes.size() > DEPTH_MAX ||
      walk.path.size() + component.size() > PATH_SIZE_MAX)
    return fail(ENAMETOOLONG, "tar", {}, "an entry's path is longer than Linux allows");
  const uint32_t parent = walk.nodes.back();
  std::string before = walk.path;
  walk.path = joined(walk.path, component);
  if (const auto link = hidden_.symlink(walk.path)) {
    walk.path = std::move(before);
    return follow(walk, *link);
  }
  if (parent == HIDDEN || parent == MISSING) {
    walk.nodes.push_back(parent);
    return Nothing{};
  }
  auto node = descend(walk, parent, component);
  if (!node)
    return node.error();
  if (*node == HIDDEN || *node == MISSING || parts_.tree.type(*node) == Type::dir) {
    walk.nodes.push_back(*node);
    return Nothing{};
  }
  if (parts_.tree.type(*node) != Type::symlink) {
    walk.nodes.push_back(MISSING);
    return Nothing{};
  }
  walk.path = std::move(before);
  const Inode &inode = parts_.tree.inode(parts_.tree.node(*node).inode);
  return follow(walk, std::string(parts_.tree.texts.get(inode.data)));
}

Result<> Merger::follow(Walk &walk, std::string_view target) {
  if (++walk.hops > LINK_HOPS_MAX)
    return fail(ELOOP, "tar", {}, "too many symlinks on the way to \"" + walk.path + "\"");
  if (target.starts_with('/')) {
    walk.path.clear();
    walk.nodes.resize(1);
  }
  while (!target.empty()) {
    const auto slash = std::min(target.find('/'), target.size());
    if (auto done = enter(walk, target.substr(0, slash)); !done)
      return done;
    target.remove_prefix(std::min(slash + 1, target.size()));
  }
  return Nothing{};
}

Result<Merger::Place> Merger::locate(std::string_view name, bool create) {
  const auto parts = cleanPath(name);
  if (parts.empty())
    return Place{};
  Walk walk{.path = {}, .create = create};
  for (size_t i = 0; i + 1 < parts.size(); i++)
    if (auto done = enter(walk, parts[i]); !done)
      return done.error();
  if (parts.back().size() > NAME_SIZE_MAX + std::string_view(".wh.").size())
    return fail(ENAMETOOLONG, "tar", {}, "an entry's path is longer than Linux allows");
  return Place{walk.nodes.back(), std::string(parts.back()), joined(walk.path, parts.back())};
}

} // namespace berth::squash
