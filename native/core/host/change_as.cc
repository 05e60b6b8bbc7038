// SPDX-License-Identifier: Apache-2.0
#include "change_as.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth {

using Action = ChangeRequest::Action;

/** NFS and parallel file systems have no O_TMPFILE; EISDIR is what kernels without it say (open(2)). */
static Fd openNew(const ChangeRequest &request) {
  Fd nameless(openat(request.directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, request.mode));
  if (nameless || (errno != EOPNOTSUPP && errno != EISDIR))
    return nameless;
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  return Fd(openat(request.directory, request.name.c_str(), kFlags, request.mode));
}

static Result<Fd> create(const ChangeRequest &request) {
  Fd fd = openNew(request);
  if (!fd)
    return fail("openat", request.name);
  if (fchmod(fd.get(), request.mode) < 0)
    return fail("fchmod", request.name);
  return fd;
}

static Result<Fd> rename(const ChangeRequest &request) {
  // Only rename(2) replaces: a file without a name has one for that moment.
  if (request.nameless >= 0) {
    const std::string own = "/proc/self/fd/" + std::to_string(request.nameless);
    if (linkat(AT_FDCWD, own.c_str(), request.directory, request.name.c_str(), AT_SYMLINK_FOLLOW) < 0)
      return fail("linkat", request.name);
  }
  if (renameat(request.directory, request.name.c_str(), request.directory, request.other.c_str()) < 0)
    return fail("renameat", request.other);
  if (!request.durable)
    return Fd();
  // A directory that its user may write to and not read cannot be opened for this.
  const Fd directory(openat(request.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory)
    (void)fsync(directory.get());
  return Fd();
}

static Result<Fd> change(const ChangeRequest &request) {
  const FileIdentity asUser(request.user);
  if (asUser.error() != 0)
    return fail(asUser.error(), "setfsuid", request.name);
  // Only the effective ids' rights count: those of access(2) would be root's.
  constexpr int kWrite = W_OK | X_OK;
  switch (request.action) {
  case Action::create:
    return create(request);
  case Action::rename:
    return rename(request);
  case Action::remove:
    if (unlinkat(request.directory, request.name.c_str(), 0) < 0)
      return fail("unlinkat", request.name);
    return Fd();
  case Action::exists:
    if (faccessat(request.directory, request.name.c_str(), F_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) < 0)
      return fail("faccessat", request.name);
    return Fd();
  case Action::probe:
    if (faccessat(request.directory, ".", kWrite, AT_EACCESS) < 0)
      return fail("faccessat", request.name);
    return Fd();
  }
  return fail(EINVAL, "change");
}

std::optional<Error> startChange(const ChangeRequest &request, FdFromChild &answer) {
  return answer.start(request.name, [&] {
    umask(0);
    return change(request);
  });
}

} // namespace berth
