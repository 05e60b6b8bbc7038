// SPDX-License-Identifier: Apache-2.0
#include "files.hh"

#include <cstdio>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

namespace berth {

/** 64 random bits: a clash means that something is wrong, not that luck was bad. */
static Result<Temporary> openNamed(const std::string &directory) {
  unsigned long long random = 0;
  if (getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random))
    return fail("getrandom", directory);
  char name[32];
  snprintf(name, sizeof name, ".tmp-%016llx", random);
  Temporary temporary{Fd(), directory + "/" + name};
  temporary.fd = Fd(open(temporary.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!temporary.fd)
    return fail("open", temporary.name);
  return temporary;
}

Result<Temporary> openTemporary(const std::string &directory) {
  Temporary temporary{Fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)), ""};
  if (temporary.fd)
    return temporary;
  // NFS and old FUSE servers have no O_TMPFILE; EISDIR is what kernels without it say (open(2)).
  if (errno == EOPNOTSUPP || errno == EISDIR)
    return openNamed(directory);
  return fail("open", directory);
}

static Result<> linkUnnamed(int fd, const std::string &path) {
  const std::string own = "/proc/self/fd/" + std::to_string(fd);
  if (linkat(AT_FDCWD, own.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
    return fail("linkat", path);
  return Nothing{};
}

/** link + unlink instead of rename: it replaces nothing, and NFS and FUSE know it, unlike RENAME_NOREPLACE.
 */
static Result<> linkNamed(const std::string &path, const std::string &name) {
  if (link(name.c_str(), path.c_str()) < 0 && errno != EEXIST)
    return fail("link", path);
  if (unlink(name.c_str()) < 0)
    return fail("unlink", name);
  return Nothing{};
}

Result<> publish(int fd, const std::string &path, const std::string &name) {
  if (fsync(fd) < 0)
    return fail("fsync", path);
  if (auto linked = name.empty() ? linkUnnamed(fd, path) : linkNamed(path, name); !linked)
    return linked;
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  const Fd opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened)
    return fail("open", directory);
  if (fsync(opened.get()) < 0)
    return fail("fsync", directory);
  return Nothing{};
}

} // namespace berth
