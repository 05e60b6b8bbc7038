// SPDX-License-Identifier: Apache-2.0
/** The part of Upper that reads what is in files. */
#include "assemble_upper.hh"
#include "acl.hh"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

namespace berth::assemble {

using squash::Inode;
using squash::NONE;

Result<> Upper::readXattrs(int fd, const std::string &path, Inode &inode) {
  static thread_local std::string names(XATTR_LIST_MAX, '\0'), room(XATTR_SIZE_MAX, '\0');
  const ssize_t length = flistxattr(fd, names.data(), names.size());
  if (length < 0)
    return errno == EOPNOTSUPP ? Result<>(Nothing{}) : fail("flistxattr", path);
  std::vector<squash::Xattr> xattrs;
  for (size_t at = 0; at < size_t(length);) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    const ssize_t size = fgetxattr(fd, name.c_str(), room.data(), room.size());
    if (size < 0)
      continue; // Gone meanwhile, or not for this process: nothing that an image keeps.
    xattrs.push_back({name, room.substr(0, size_t(size))});
  }
  inode.mode = squash::modeWithoutAcl(inode.mode, xattrs);
  auto index = xattrs_.index(std::move(xattrs));
  if (!index)
    return index.error();
  inode.xattrs = *index;
  return Nothing{};
}

Result<squash::Placed> storeFile(int fd, uint64_t size, squash::FileStore &store) {
  /** Some blocks a read(2). */
  constexpr size_t PIECE = 512 * 1024;
  static thread_local std::vector<uint8_t> piece(PIECE);
  if (auto begun = store.begin(size); !begun)
    return begun.error();
  for (uint64_t at = 0; at < size;) {
    off_t data = lseek(fd, off_t(at), SEEK_DATA);
    if (data < 0)
      data = errno == ENXIO ? off_t(size) : off_t(at); // ENXIO: only a hole is left.
    const uint64_t hole = std::min(uint64_t(data), size) - at;
    if (auto done = hole > 0 ? store.hole(hole) : Result<>(Nothing{}); !done)
      return done.error();
    at += hole;
    const off_t next = at < size ? lseek(fd, off_t(at), SEEK_HOLE) : -1;
    const uint64_t end = next < 0 ? size : std::min(uint64_t(next), size);
    while (at < end) {
      const ssize_t got = pread(fd, piece.data(), std::min<uint64_t>(PIECE, end - at), off_t(at));
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        return fail("pread", "upper directory");
      const uint64_t part = got == 0 ? end - at : uint64_t(got);
      auto done = got == 0 ? store.hole(part) : store.data({piece.data(), part});
      if (!done)
        return done.error();
      at += part;
    }
  }
  return store.end();
}

Result<> Upper::readFile(const Pending &pending, squash::FileStore &store) {
  const std::string path = tree_.path(pending.node);
  auto directory = directories_.open(tree_.node(pending.node).parent);
  if (!directory)
    return directory.error();
  const Fd fd(openat(*directory, std::string(tree_.name(pending.node)).c_str(),
                     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status;
  if (!fd || fstat(fd.get(), &status) < 0)
    return fail("openat", path);
  if (!S_ISREG(status.st_mode))
    return fail(EBUSY, "openat", path, "it was replaced while the container was saved");
  Inode &inode = tree_.inode(pending.inode);
  if (auto done = readXattrs(fd.get(), path, inode); !done)
    return done;
  bytes_ += uint64_t(status.st_blocks) * 512;
  if (bytes_ > options_.bytesMax)
    return fail(EFBIG, "assemble", path, "the changes of the container are too large");
  auto placed = storeFile(fd.get(), uint64_t(status.st_size), store);
  if (!placed) {
    if (placed.error().path.empty() || placed.error().syscall == "pread")
      placed.error().path = path;
    return placed.error();
  }
  inode.size = uint64_t(status.st_size);
  inode.data = placed->data;
  inode.offset = placed->offset;
  return Nothing{};
}

Result<> Upper::readFiles(squash::FileStore &store) {
  for (const Pending &pending : pending_)
    if (auto done = readFile(pending, store); !done)
      return done;
  return Nothing{};
}

} // namespace berth::assemble
