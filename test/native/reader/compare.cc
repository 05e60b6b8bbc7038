// SPDX-License-Identifier: Apache-2.0
#include "compare.hh"

#include <algorithm>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <map>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

using namespace berth::unsquash;

namespace {

constexpr mode_t kModes[] = {0, S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK};

class Comparison {
public:
  Comparison(Image &image, std::string mountPoint) : image_(image), mountPoint_(std::move(mountPoint)) {}

  int run() {
    const auto done = image_.walk([&](const Entry &entry) {
      compare(entry);
      return true;
    });
    if (!done)
      differ(done.error().message);
    // The kernel must not see more than the walk did.
    if (entries_ != kernelEntries_)
      differ(std::to_string(entries_) + " entries, kernel " + std::to_string(kernelEntries_));
    std::printf("%zu entries, %llu bytes, %zu differences\n", entries_,
                static_cast<unsigned long long>(bytes_), differences_);
    return differences_ == 0 ? 0 : 1;
  }

private:
  void differ(const std::string &what) {
    if (++differences_ < 20)
      std::printf("%s: %s\n", path_.c_str(), what.c_str());
  }

  void expect(const char *what, uint64_t ours, uint64_t kernels) {
    if (ours != kernels)
      differ(std::string(what) + " " + std::to_string(ours) + ", kernel " + std::to_string(kernels));
  }

  void compare(const Entry &entry) {
    entries_++;
    path_ = mountPoint_ + "/" + entry.path;
    const Inode &inode = entry.inode;
    struct stat status;
    // The number of path components is not limited here, PATH_MAX is: deep trees are compared as far as it
    // reaches.
    if (lstat(path_.c_str(), &status) < 0)
      return differ(std::string("lstat: ") + strerror(errno));
    if (entry.path.empty())
      kernelEntries_++;
    expect("mode", inode.mode | kModes[static_cast<int>(inode.type)], status.st_mode);
    expect("uid", inode.uid, status.st_uid);
    expect("gid", inode.gid, status.st_gid);
    expect("mtime", inode.mtime, static_cast<uint64_t>(status.st_mtime));
    expect("inode", inode.number, status.st_ino);
    expect("links", inode.links, status.st_nlink);
    switch (inode.type) {
    case Type::file:
      expect("size", inode.size, static_cast<uint64_t>(status.st_size));
      compareContent(inode);
      break;
    case Type::directory:
      countNames();
      break;
    case Type::symlink:
      compareTarget(inode);
      break;
    case Type::block:
    case Type::character:
      expect("major", (inode.device & 0xfff00) >> 8, major(status.st_rdev));
      expect("minor", (inode.device & 0xff) | ((inode.device >> 12) & 0xfff00), minor(status.st_rdev));
      break;
    default:
      break;
    }
    compareXattrs(inode);
  }

  void countNames() {
    DIR *directory = opendir(path_.c_str());
    if (directory == nullptr)
      return differ(std::string("opendir: ") + strerror(errno));
    // Counted by name: glibc hides entries of inode 0, which ".." of the root may have.
    while (const dirent *entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      kernelEntries_ += name != "." && name != ".." ? 1 : 0;
    }
    closedir(directory);
  }

  void compareTarget(const Inode &inode) {
    std::string target(4096, '\0');
    const ssize_t length = readlink(path_.c_str(), target.data(), target.size());
    target.resize(length < 0 ? 0 : static_cast<size_t>(length));
    if (target != inode.target)
      differ("target " + inode.target + ", kernel " + target);
  }

  void compareContent(const Inode &inode) {
    const berth::Fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
      return differ(std::string("open: ") + strerror(errno));
    off_t offset = 0;
    bool same = true;
    const auto done = image_.content(inode, [&](std::span<const uint8_t> piece) {
      buffer_.resize(piece.size());
      same = same && pread(fd.get(), buffer_.data(), buffer_.size(), offset) == ssize_t(piece.size()) &&
             std::ranges::equal(buffer_, piece);
      offset += static_cast<off_t>(piece.size());
    });
    if (!done)
      differ(done.error().message);
    if (!same || static_cast<uint64_t>(offset) != inode.size)
      differ("content");
    bytes_ += inode.size;
  }

  void compareXattrs(const Inode &inode) {
    std::map<std::string, std::string> ours;
    const auto read = image_.xattrs(inode);
    if (!read)
      return differ(read.error().message);
    for (const Xattr &xattr : read.value())
      ours[xattr.name] = xattr.value;
    std::string names(65536, '\0');
    const ssize_t length = llistxattr(path_.c_str(), names.data(), names.size());
    names.resize(length < 0 ? 0 : static_cast<size_t>(length));
    std::map<std::string, std::string> kernels;
    for (size_t at = 0; at < names.size(); at += names.find('\0', at) + 1 - at) {
      const std::string name = names.c_str() + at;
      std::string value(65536, '\0');
      const ssize_t bytes = lgetxattr(path_.c_str(), name.c_str(), value.data(), value.size());
      value.resize(bytes < 0 ? 0 : static_cast<size_t>(bytes));
      kernels[name] = value;
    }
    if (ours != kernels)
      differ("xattrs: " + std::to_string(ours.size()) + ", kernel " + std::to_string(kernels.size()));
  }

  Image &image_;
  const std::string mountPoint_;
  std::string path_;
  std::vector<uint8_t> buffer_;
  size_t entries_ = 0;
  size_t kernelEntries_ = 0;
  size_t differences_ = 0;
  uint64_t bytes_ = 0;
};

} // namespace

int compareWithMount(Image &image, const std::string &mountPoint) {
  return Comparison(image, mountPoint).run();
}
