// SPDX-License-Identifier: Apache-2.0
#include "reader.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

/** As the kernel's MAXSYMLINKS. */
constexpr int kLinksMax = 40;
constexpr size_t kPathMax = 4096;
/** Of all values of one inode: small in every image, but references could multiply it. */
constexpr size_t kXattrBytesMax = 16 << 20;

[[noreturn]] void failPath(int code, std::string_view path) { throw Fault{code, std::string(path)}; }

/** Takes the first component off `path`; empty when there is none left. */
std::string takeComponent(std::string &path) {
  const size_t from = path.find_first_not_of('/');
  if (from == std::string::npos) {
    path.clear();
    return {};
  }
  const size_t to = std::min(path.find('/', from), path.size());
  std::string component = path.substr(from, to - from);
  path.erase(0, to);
  return component;
}

} // namespace

Image::Image(Source source, const Limits &limits)
    : source_(source), limits_(limits), layout_(readLayout(source_, limits_)),
      unpacker_(layout_.super.compressor, layout_.super.blockSize),
      inodes_(source_, layout_.inodes, unpacker_), directories_(source_, layout_.directories, unpacker_) {}

Result<std::unique_ptr<Image>> Image::open(int fd, const Limits &limits, uint64_t base) {
  return guarded([&] { return std::unique_ptr<Image>(new Image(Source(fd, base), limits)); });
}

Result<std::unique_ptr<Image>> Image::open(std::span<const uint8_t> memory, const Limits &limits) {
  return guarded([&] { return std::unique_ptr<Image>(new Image(Source(memory), limits)); });
}

Inode Image::inodeAt(uint64_t position) {
  inodes_.seek(position);
  return readInode(inodes_, layout_);
}

Inode Image::root() {
  const uint64_t reference = layout_.super.root;
  Inode inode = inodeAt(layout_.inodes.linear(reference >> 16, reference & 0xffff));
  if (inode.type != Type::directory)
    refuse("superblock", 32, "the root is not a directory");
  return inode;
}

bool Image::findName(const Inode &directory, std::string_view name, Name &found) {
  Listing listing(directories_, layout_, directory);
  while (listing.next(found))
    if (found.name >= name)
      return found.name == name;
  return false;
}

Inode Image::resolve(std::string_view path, bool followLast) {
  std::vector<Inode> way{root()};
  std::string rest(path);
  int links = 0;
  for (;;) {
    const std::string component = takeComponent(rest);
    if (component.empty())
      return way.back();
    if (way.back().type != Type::directory)
      failPath(ENOTDIR, path);
    if (component == ".")
      continue;
    if (component == "..") {
      if (way.size() > 1)
        way.pop_back();
      continue;
    }
    Name name;
    if (!findName(way.back(), component, name))
      failPath(ENOENT, path);
    Inode inode = inodeAt(name.inode);
    const bool last = rest.find_first_not_of('/') == std::string::npos;
    if (inode.type != Type::symlink || (last && !followLast)) {
      if (way.size() > limits_.depthMax)
        failPath(ELOOP, path);
      way.push_back(std::move(inode));
      continue;
    }
    if (++links > kLinksMax)
      failPath(ELOOP, path);
    rest = inode.target + "/" + rest;
    if (rest.size() > 2 * kPathMax)
      failPath(ENAMETOOLONG, path);
    if (inode.target.front() == '/')
      way.resize(1);
  }
}

Result<Inode> Image::lookup(std::string_view path) {
  return guarded([&] { return resolve(path, true); });
}

Result<Inode> Image::lookupLink(std::string_view path) {
  return guarded([&] { return resolve(path, false); });
}

std::vector<Name> Image::names(const Inode &directory) {
  std::vector<Name> names;
  Listing listing(directories_, layout_, directory);
  for (Name name; listing.next(name);) {
    names.push_back(name);
    if (names.size() > limits_.entriesMax)
      overLimit("names", names.size(), limits_.entriesMax);
  }
  return names;
}

Result<std::vector<Name>> Image::list(std::string_view path) {
  return guarded([&] {
    const Inode inode = resolve(path, true);
    if (inode.type != Type::directory)
      failPath(ENOTDIR, path);
    return names(inode);
  });
}

void Image::walkFrom(const Inode &top, const std::function<bool(const Entry &)> &visit) {
  struct Level {
    std::vector<Name> names;
    size_t next;
    size_t pathLength;
  };
  Entry entry{.path = {}, .inode = top};
  if (!visit(entry))
    return;
  std::vector<Level> levels;
  levels.push_back({names(top), 0, 0});
  for (uint64_t count = 1; !levels.empty();) {
    Level &level = levels.back();
    entry.path.resize(level.pathLength);
    if (level.next == level.names.size()) {
      levels.pop_back();
      continue;
    }
    const Name &name = level.names[level.next++];
    if (++count > limits_.entriesMax)
      overLimit("names", count, limits_.entriesMax);
    entry.path += (entry.path.empty() ? "" : "/") + name.name;
    entry.inode = inodeAt(name.inode);
    if (entry.inode.number != name.number || entry.inode.type != name.type)
      directories_.refuse("\"" + entry.path + "\" does not fit its inode");
    if (!visit(entry))
      return;
    if (entry.inode.type != Type::directory)
      continue;
    if (levels.size() > limits_.depthMax)
      overLimit("directories below each other", levels.size(), limits_.depthMax);
    levels.push_back({names(entry.inode), 0, entry.path.size()});
  }
}

Result<Nothing> Image::walk(const std::function<bool(const Entry &)> &visit) {
  return guarded([&] {
    walkFrom(root(), visit);
    return Nothing{};
  });
}

Result<std::vector<Xattr>> Image::xattrs(const Inode &inode) {
  return guarded([&] {
    std::vector<Xattr> all;
    if (inode.xattr == kNone)
      return all;
    MetaCursor ids(source_, layout_.xattrIds.table, unpacker_);
    ids.seek(uint64_t{inode.xattr} * kXattrIdSize);
    const XattrSet set = readXattrSet(ids, layout_);
    MetaCursor pairs(source_, layout_.xattrs, unpacker_);
    MetaCursor values(source_, layout_.xattrs, unpacker_);
    pairs.seek(set.start);
    size_t names = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < set.count; i++) {
      const XattrPair pair = readXattrPair(pairs, layout_);
      all.push_back({pair.name, readXattrValue(values, pair)});
      names += pair.name.size() + 1;
      bytes += all.back().value.size();
      if (names > kXattrNamesMax || bytes > kXattrBytesMax)
        pairs.refuse("a set with too many attributes");
    }
    return all;
  });
}

} // namespace berth::unsquash
