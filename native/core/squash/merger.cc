// SPDX-License-Identifier: Apache-2.0
#include "merger.hh"

#include <algorithm>

namespace berth::squash {
namespace {

constexpr std::string_view WHITEOUT = ".wh.", OPAQUE = ".wh..wh..opq";

Type typeOf(Kind kind) {
  switch (kind) {
  case Kind::dir:
    return Type::dir;
  case Kind::symlink:
    return Type::symlink;
  case Kind::character:
    return Type::character;
  case Kind::block:
    return Type::block;
  case Kind::fifo:
    return Type::fifo;
  default:
    return Type::file;
  }
}

/** As the kernel's new_encode_dev, which squashfs inodes hold. */
uint32_t deviceNumber(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | major << 8 | (minor & ~uint32_t{0xff}) << 12;
}

} // namespace

Result<> Merger::layer(unsigned index, EntryReader &reader) {
  layer_ = index;
  ordinal_ = 0;
  parts_.index.begin(index);
  TarEntry entry;
  for (;;) {
    auto more = reader.next(entry);
    if (!more)
      return more.error();
    if (!*more)
      break;
    ordinal_++;
    entries_++;
    if (auto done = checkLimits(); !done)
      return done;
    filled_ = NONE;
    if (auto done = apply(entry, reader); !done) {
      Error error = std::move(done).error();
      if (error.code == EBADMSG || error.code == ENOTDIR || error.code == ELOOP || error.code == ENAMETOOLONG)
        error.message += " (entry \"" + entry.name.substr(0, NAME_SIZE_MAX) + "\")";
      return error;
    }
    parts_.index.add(entry, filled_);
  }
  hidden_.clear();
  reader.drain();
  return checkLimits();
}

Result<> Merger::checkLimits() const {
  if (entries_ + awaited_.size() > entriesMax_)
    return fail(EFBIG, "squash", {}, "the layers have more than " + std::to_string(entriesMax_) + " entries");
  if (std::max({parts_.tree.texts.size(), hidden_.textBytes(), awaited_.textBytes()}) > textBytesMax_)
    return fail(EFBIG, "squash", {},
                "the names and links of the layers are longer than " + std::to_string(textBytesMax_) +
                    " bytes");
  return Nothing{};
}

Result<> Merger::apply(const TarEntry &entry, EntryReader &reader) {
  if (isInternal(entry.name))
    return Nothing{};
  auto place = locate(entry.name, true);
  if (!place)
    return place.error();
  const std::string_view base = place->base;
  if (base.empty())
    return addRoot(entry);
  if (anyEmptied_ && !place->hidden())
    noteFilled(place->parent);
  if (base == OPAQUE) {
    opaque(*place);
    return Nothing{};
  }
  if (base.starts_with(WHITEOUT)) {
    const auto name = base.substr(WHITEOUT.size());
    if (name.empty() || name == "." || name == "..")
      return tarDamage("a whiteout names no file");
    whiteout(*place, name);
    return Nothing{};
  }
  if (base.size() > NAME_SIZE_MAX)
    return fail(ENAMETOOLONG, "tar", {}, "an entry's path is longer than Linux allows");
  if (entry.kind == Kind::dir)
    return addDir(entry, *place);
  awaited_.remove(place->path, Awaited::Removed::below, layer_);
  return entry.kind == Kind::link ? addLink(entry, *place) : addOther(entry, *place, reader);
}

void Merger::opaque(const Place &place) {
  const auto slash = place.path.rfind('/');
  const auto parent = std::string_view(place.path).substr(0, slash == std::string::npos ? 0 : slash);
  awaited_.remove(parent, Awaited::Removed::below, layer_);
  if (place.hidden())
    return;
  Node &node = parts_.tree.node(place.parent);
  node.hiddenBelow = std::max(node.hiddenBelow, uint16_t(layer_));
}

void Merger::whiteout(const Place &place, std::string_view name) {
  if (!awaited_.empty()) {
    const auto slash = place.path.rfind('/');
    const std::string parent = slash == std::string::npos ? "" : place.path.substr(0, slash + 1);
    awaited_.remove(parent + std::string(name), Awaited::Removed::itself, layer_);
  }
  if (place.hidden())
    return;
  Tree &tree = parts_.tree;
  const uint32_t found = tree.find(place.parent, name);
  if (found == NONE) {
    tree.add(place.parent, name, layer_);
  } else if (tree.type(found) == Type::dir) {
    Node &node = tree.node(found);
    node.hiddenBelow = std::max(node.hiddenBelow, uint16_t(layer_));
    node.cut = true;
  }
}

Result<> Merger::describe(const TarEntry &entry, Inode &inode) {
  auto uid = parts_.owners.index(entry.uid);
  auto gid = parts_.owners.index(entry.gid);
  auto xattrs = parts_.xattrs.index(entry.xattrs);
  if (!uid || !gid)
    return uid ? gid.error() : uid.error();
  if (!xattrs)
    return xattrs.error();
  inode.mode = entry.kind == Kind::symlink ? uint16_t{0777} : entry.mode;
  inode.uid = *uid;
  inode.gid = *gid;
  // 32 bits without a sign, as the kernel reads them (inode.c, squashfs_new_inode).
  inode.mtime = uint32_t(std::clamp<int64_t>(entry.mtime, 0, int64_t{0xffffffff}));
  inode.xattrs = *xattrs;
  return Nothing{};
}

Result<> Merger::addRoot(const TarEntry &entry) {
  if (entry.kind != Kind::dir)
    return tarDamage("the root is not a directory");
  Node &root = parts_.tree.node(Tree::ROOT);
  if (!root.implicit && root.metadataLayer != layer_)
    return Nothing{};
  root.implicit = false;
  root.metadataLayer = uint16_t(layer_);
  return describe(entry, parts_.tree.inode(root.inode));
}

Result<> Merger::addDir(const TarEntry &entry, const Place &place) {
  hidden_.dropSymlink(place.path);
  if (awaited_.find(place.path) != NONE)
    return tarDamage("the target of a hard link is a directory");
  if (place.hidden())
    return Nothing{};
  Tree &tree = parts_.tree;
  uint32_t number = tree.find(place.parent, place.base);
  if (number != NONE && tree.type(number) == Type::dir) {
    Node &node = tree.node(number);
    if (node.cut && layer_ < node.hiddenBelow)
      return Nothing{};
    if (!node.implicit && node.metadataLayer != layer_)
      return Nothing{};
  } else {
    if (number != NONE && tree.node(number).layer > layer_)
      return Nothing{};
    const bool fresh = number == NONE;
    if (fresh)
      number = tree.add(place.parent, place.base, layer_);
    Node &node = tree.node(number);
    node.inode = tree.addInode();
    tree.inode(node.inode).type = Type::dir;
    if (!fresh)
      node.hiddenBelow = uint16_t(layer_);
  }
  Node &node = tree.node(number);
  node.implicit = false;
  node.metadataLayer = uint16_t(layer_);
  return describe(entry, tree.inode(node.inode));
}

void Merger::noteFilled(uint32_t directory) {
  for (; directory != NONE; directory = parts_.tree.node(directory).parent)
    parts_.tree.node(directory).emptied = false;
}

/** The node for something that is not a directory; HIDDEN when an upper layer has the name. */
uint32_t Merger::claim(const Place &place) {
  if (place.hidden())
    return HIDDEN;
  Tree &tree = parts_.tree;
  const uint32_t number = tree.find(place.parent, place.base);
  if (number == NONE)
    return tree.add(place.parent, place.base, layer_);
  Node &node = tree.node(number);
  if (tree.type(number) == Type::dir) {
    // What this layer had put inside is gone, as it is for one who unpacks in order.
    if (!node.emptied)
      tree.drop(number, layer_);
    node.emptied = anyEmptied_ = true;
    if (node.layer > layer_) {
      node.hiddenBelow = std::max(node.hiddenBelow, uint16_t(layer_));
      node.cut = true;
    }
  }
  return node.layer > layer_ ? HIDDEN : number;
}

Result<> Merger::addOther(const TarEntry &entry, const Place &place, EntryReader &reader) {
  if (entry.kind == Kind::symlink && entry.target.size() > TARGET_SIZE_MAX)
    return fail(ENAMETOOLONG, "tar", {}, "a symlink's target is longer than Linux allows");
  hidden_.dropSymlink(place.path);
  const uint32_t number = claim(place);
  const uint32_t awaiting = awaited_.find(place.path, layer_);
  if (number == HIDDEN) {
    const auto symlink =
        entry.kind == Kind::symlink ? std::optional<std::string_view>(entry.target) : std::nullopt;
    hidden_.put(place.path, {awaiting, ordinal_, {}}, symlink);
    if (awaiting == NONE)
      return Nothing{};
  }
  const uint32_t inode = awaiting != NONE ? awaiting : parts_.tree.addInode();
  if (awaiting != NONE)
    awaited_.drop(place.path);
  if (number != HIDDEN)
    parts_.tree.node(number).inode = inode;
  return fill(entry, inode, reader);
}

Result<> Merger::fill(const TarEntry &entry, uint32_t number, EntryReader &reader) {
  Inode inode;
  inode.type = typeOf(entry.kind);
  if (auto done = describe(entry, inode); !done)
    return done;
  if (entry.kind == Kind::file) {
    if (auto done = fillFile(entry, number, inode, reader); !done)
      return done;
  } else if (entry.kind == Kind::symlink) {
    inode.size = entry.target.size();
    inode.data = parts_.tree.texts.add(entry.target);
  } else if (entry.kind == Kind::character || entry.kind == Kind::block) {
    inode.data = deviceNumber(entry.major, entry.minor);
  }
  parts_.tree.inode(number) = inode;
  return Nothing{};
}

Result<> Merger::fillFile(const TarEntry &entry, uint32_t number, Inode &inode, EntryReader &reader) {
  inode.size = entry.size;
  filled_ = number;
  if (entry.size == 0)
    return Nothing{};
  auto content = reader.place(number);
  if (!content)
    return content.error();
  if (*content == Content::lost) {
    wantedOf(layer_).add(ordinal_, number);
    if (wantedExample_.empty())
      wantedExample_ = "\"" + entry.name + "\" of layer " + std::to_string(layer_);
  }
  if (*content != Content::here)
    return Nothing{};
  if (auto done = parts_.store.begin(entry.size); !done)
    return done;
  if (auto done = reader.content(parts_.store); !done)
    return done;
  auto placed = parts_.store.end();
  if (!placed)
    return placed.error();
  inode.data = placed->data;
  inode.offset = placed->offset;
  return Nothing{};
}

} // namespace berth::squash
