// SPDX-License-Identifier: Apache-2.0
#include "file_server.hh"
#include "files.hh"

#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace berth {

constexpr long kFuseMagic = 0x65735546; /* linux/magic.h FUSE_SUPER_MAGIC */

static bool rootsAlone(const struct stat &status) {
  // Sticky directories count as writable: anybody can put a link to another name of theirs beside the file.
  return status.st_uid == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/** Only root's FUSE servers may speak of root's files. */
static bool fuseOfRoot(int file) {
  return fileServerOf(Fd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)), file) == FileServer::root;
}

static bool trustedFilesystem(int fd) {
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && (fs.f_type != kFuseMagic || fuseOfRoot(fd));
}

/** Checks one name below `directory` and steps into it. */
static bool step(Fd &directory, const char *name, struct stat &status) {
  Fd next(openat(directory.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!next || fstat(next.get(), &status) < 0 || !rootsAlone(status) || !trustedFilesystem(next.get()))
    return false;
  directory = std::move(next);
  return true;
}

Result<bool> onlyRootWrote(int fd) {
  struct stat file, status;
  if (fstat(fd, &file) < 0)
    return fail("fstat");
  if (!rootsAlone(file))
    return false;
  char path[PATH_MAX + 1];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, PATH_MAX);
  if (length <= 0)
    return fail("readlink", "/proc/self/fd");
  path[length] = '\0';
  if (path[0] != '/')
    return false;
  Fd here(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!here || fstat(here.get(), &status) < 0 || !rootsAlone(status))
    return false;
  char *rest = nullptr;
  for (char *part = strtok_r(path, "/", &rest); part != nullptr; part = strtok_r(nullptr, "/", &rest))
    if (!step(here, part, status))
      return false;
  return status.st_dev == file.st_dev && status.st_ino == file.st_ino;
}

} // namespace berth
