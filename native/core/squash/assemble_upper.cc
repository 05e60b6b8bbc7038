// SPDX-License-Identifier: Apache-2.0
#include "assemble_upper.hh"

#include "sha256.hh"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace berth::assemble {

using squash::Inode;
using squash::NONE;
using squash::Tree;
using squash::Type;

namespace {

/** Each level is an open directory, and the process may have 1,024. */
constexpr size_t DEPTH_MAX = 900;
/** overflowuid: an owner that has no number here (user_namespaces(7)). */
constexpr uint32_t NOBODY = 65534;
constexpr unsigned UPPER_LAYER = 1;
/** PATH_MAX: no link's target is longer. */
constexpr size_t TARGET_MAX = 4096;
/** berth makes none that is larger: kCopySizeMax of core/ns. */
constexpr off_t OWN_SIZE_MAX = 1 << 20;

struct CloseDirectory {
  void operator()(DIR *directory) const { closedir(directory); }
};

Result<std::vector<std::string>> namesOf(int fd) {
  Fd own(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own)
    return fail("openat", "upper directory");
  const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(own.get()));
  if (directory == nullptr)
    return fail("fdopendir", "upper directory");
  (void)own.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent *entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..")
      names.push_back(name);
  }
  if (errno != 0)
    return fail("readdir", "upper directory");
  std::ranges::sort(names);
  return names;
}

bool isWhiteout(const struct stat &status) { return S_ISCHR(status.st_mode) && status.st_rdev == 0; }

Type typeOf(mode_t mode) {
  return S_ISDIR(mode)    ? Type::dir
         : S_ISREG(mode)  ? Type::file
         : S_ISLNK(mode)  ? Type::symlink
         : S_ISBLK(mode)  ? Type::block
         : S_ISCHR(mode)  ? Type::character
         : S_ISFIFO(mode) ? Type::fifo
                          : Type::socket;
}

/** As the kernel's new_encode_dev(). */
uint32_t deviceNumber(dev_t device) {
  return uint32_t((minor(device) & 0xff) | major(device) << 8 | (minor(device) & ~0xffu) << 12);
}

std::string digestOf(std::string_view content) {
  squash::Sha256 sum;
  sum.update({reinterpret_cast<const uint8_t *>(content.data()), content.size()});
  return squash::toHex(sum.finish());
}

Result<std::string> readLink(int directory, const std::string &name) {
  std::string target(TARGET_MAX, '\0');
  const ssize_t length = readlinkat(directory, name.c_str(), target.data(), target.size());
  if (length < 0)
    return fail("readlinkat", name);
  target.resize(size_t(length));
  return target;
}

} // namespace

Result<int> UpperDirectories::open(uint32_t node) {
  std::vector<uint32_t> way;
  for (; node != Tree::ROOT; node = tree_.node(node).parent)
    way.push_back(node);
  std::ranges::reverse(way);
  size_t common = 0;
  while (common < std::min(way.size(), levels_.size()) && levels_[common].node == way[common])
    common++;
  levels_.resize(common);
  if (way.size() > DEPTH_MAX)
    return fail(ENAMETOOLONG, "openat", tree_.path(node), "directories are too deep inside each other");
  for (size_t i = common; i < way.size(); i++) {
    const int parent = levels_.empty() ? upper_ : levels_.back().fd.get();
    Fd fd(openat(parent, std::string(tree_.name(way[i])).c_str(),
                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
      return fail("openat", tree_.path(way[i]));
    levels_.push_back({way[i], std::move(fd)});
  }
  return levels_.empty() ? upper_ : levels_.back().fd.get();
}

Result<uint16_t> Upper::owner(uint32_t id) { return owners_.index(id == NOBODY ? 0 : id); }

Result<uint32_t> Upper::addInode(int directory, const std::string &name, const struct stat &status) {
  auto uid = owner(status.st_uid);
  auto gid = owner(status.st_gid);
  if (!uid || !gid)
    return uid ? gid.error() : uid.error();
  const uint32_t number = tree_.addInode();
  Inode &inode = tree_.inode(number);
  inode.type = typeOf(status.st_mode);
  inode.mode = status.st_mode & 07777;
  inode.uid = *uid;
  inode.gid = *gid;
  inode.mtime = uint32_t(std::clamp<int64_t>(status.st_mtime, 0, UINT32_MAX));
  if (inode.type == Type::symlink) {
    auto target = readLink(directory, name);
    if (!target)
      return target.error();
    inode.size = target->size();
    inode.data = tree_.texts.add(*target);
  } else if (inode.type == Type::block || inode.type == Type::character) {
    inode.data = deviceNumber(status.st_rdev);
  }
  return number;
}

/** Whether a name that berth made is still as it was made; a directory is when nothing comes to be in it. */
Result<bool> Upper::isUntouched(int directory, const std::string &name, const std::string &path,
                                const struct stat &status) {
  const auto own = ownPaths_.find(path);
  if (own == ownPaths_.end())
    return false;
  const std::string &digest = own->second;
  if (S_ISLNK(status.st_mode)) {
    auto target = readLink(directory, name);
    return target ? Result<bool>(digestOf(*target) == digest) : Result<bool>(target.error());
  }
  if (!S_ISREG(status.st_mode) || status.st_size > OWN_SIZE_MAX)
    return false;
  if (digest.empty() || status.st_size == 0)
    return digest.empty() && status.st_size == 0;
  const Fd fd(openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd)
    return fail("openat", path);
  std::string found(size_t(status.st_size), '\0');
  const ssize_t got = pread(fd.get(), found.data(), found.size(), 0);
  if (got < 0)
    return fail("pread", path);
  return size_t(got) == found.size() && digestOf(found) == digest;
}

Result<> Upper::addEntry(uint32_t parent, int directory, const std::string &name) {
  struct stat status;
  if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? Result<>(Nothing{}) : fail("fstatat", name);
  const std::string path = parent == Tree::ROOT ? name : tree_.path(parent) + "/" + name;
  auto untouched = isUntouched(directory, name, path, status);
  if (!untouched)
    return untouched.error();
  if (*untouched)
    return Nothing{};
  if (tree_.nodeCount() > options_.entriesMax)
    return fail(EFBIG, "assemble", path, "the container has too many files");
  const uint32_t node = tree_.add(parent, name, UPPER_LAYER);
  if (isWhiteout(status))
    return Nothing{};
  const bool linked = !S_ISDIR(status.st_mode) && status.st_nlink > 1;
  if (const auto known = links_.find(status.st_ino); linked && known != links_.end()) {
    tree_.node(node).inode = known->second;
    return Nothing{};
  }
  auto inode = addInode(directory, name, status);
  if (!inode)
    return inode.error();
  tree_.node(node).inode = *inode;
  if (linked)
    links_.emplace(status.st_ino, *inode);
  if (S_ISREG(status.st_mode))
    pending_.push_back({node, *inode});
  if (!S_ISDIR(status.st_mode))
    return Nothing{};
  if (opaquePaths_.contains(path))
    opaque_.insert(node);
  if (ownPaths_.contains(path))
    own_.insert(node);
  return Nothing{};
}

Result<> Upper::scanDirectory(uint32_t node) {
  auto directory = directories_.open(node);
  if (!directory)
    return directory.error();
  if (auto done = readXattrs(*directory, tree_.path(node), tree_.inode(tree_.node(node).inode)); !done)
    return done;
  auto names = namesOf(*directory);
  if (!names)
    return names.error();
  const auto first = uint32_t(tree_.nodeCount());
  for (const std::string &name : *names)
    if (auto added = addEntry(node, *directory, name); !added)
      return added;
  for (auto child = uint32_t(tree_.nodeCount()); child-- > first;)
    if (tree_.type(child) == Type::dir)
      open_.push_back(child);
  return Nothing{};
}

Result<> Upper::scan() {
  for (const Own &own : options_.own)
    ownPaths_.emplace(own.path, own.digest);
  opaquePaths_.insert(options_.opaque.begin(), options_.opaque.end());
  struct stat status;
  if (fstat(options_.upper, &status) < 0)
    return fail("fstat", "upper directory");
  auto root = addInode(options_.upper, ".", status);
  if (!root)
    return root.error();
  tree_.node(Tree::ROOT).inode = *root;
  tree_.node(Tree::ROOT).implicit = false;
  open_ = {Tree::ROOT};
  while (!open_.empty()) {
    const uint32_t node = open_.back();
    open_.pop_back();
    if (auto scanned = scanDirectory(node); !scanned)
      return scanned;
  }
  end_ = uint32_t(tree_.nodeCount());
  return Nothing{};
}

} // namespace berth::assemble
