// SPDX-License-Identifier: Apache-2.0
#include "file_server.hh"
#include "files.hh"

#include "core/ns/kernel.hh"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

namespace berth {

constexpr uint64_t kAlways = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

/**
 * A directory's close asks nobody; what was opened by path alone can't be read; what is created is only
 * written.
 */
constexpr int kUnchecked = O_PATH | O_CREAT | O_DIRECTORY;

/** What the kernel knows without asking a file server. */
static Result<FileServer> serverOf(int process, const Fd &file) {
  Fd mounts(openat(process, "mountinfo", O_RDONLY | O_CLOEXEC));
  if (!mounts)
    return fail("open", "/proc/self/mountinfo");
  return fileServerOf(std::move(mounts), file.get());
}

/** `process` is the child's own directory in /proc, opened before it went where /proc may be another one. */
static Result<Fd> openChecked(int process, int start, const OpenRequest &request, kernel::OpenHow how) {
  const uint64_t flags = how.flags;
  how.flags = O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW);
  const Fd found = kernel::openAt(start, request.path.c_str(), how);
  if (!found)
    return fail("openat2", request.path);
  const auto server = serverOf(process, found);
  if (!server)
    return server.error();
  if (*server == FileServer::user)
    return fail(EREMOTE, "openat2", request.path);
  const std::string own = "fd/" + std::to_string(found.get());
  Fd fd(openat(process, own.c_str(), static_cast<int>(flags & ~uint64_t{O_NOFOLLOW})));
  if (!fd)
    return fail("openat", request.path);
  return fd;
}

static Result<Fd> openHere(const OpenRequest &request) {
  const Fd process(open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process)
    return fail("open", "/proc/self");
  if (request.mountNs >= 0 && setns(request.mountNs, CLONE_NEWNS) < 0)
    return fail("setns", request.path);
  const FileIdentity asUser(request.user);
  if (asUser.error() != 0)
    return fail(asUser.error(), "setfsuid", request.path);
  Fd start;
  if (!request.path.starts_with('/')) {
    start = kernel::openAt(AT_FDCWD, request.cwd.c_str(),
                           {O_PATH | O_DIRECTORY | O_CLOEXEC, 0, kernel::kResolveNoMagicLinks});
    if (!start)
      return fail("openat2", request.cwd);
  }
  kernel::OpenHow how;
  // O_PATH refuses the flags that matter only for reading and writing.
  how.flags = static_cast<uint64_t>(request.flags) | ((request.flags & O_PATH) != 0 ? O_CLOEXEC : kAlways);
  how.mode = (request.flags & O_CREAT) != 0 ? 0644 : 0;
  how.resolve = kernel::kResolveNoMagicLinks;
  const int from = start ? start.get() : AT_FDCWD;
  if ((request.flags & kUnchecked) == 0)
    return openChecked(process.get(), from, request, how);
  Fd fd = kernel::openAt(from, request.path.c_str(), how);
  if (!fd)
    return fail("openat2", request.path);
  return fd;
}

static Result<Fd> copyOf(const Fd &file, const OpenRequest &request) {
  struct stat status;
  if (fstat(file.get(), &status) < 0)
    return fail("fstat", request.path);
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > request.copyMax)
    return fail(EFBIG, "read", request.path);
  Fd copy(memfd_create("copy", MFD_CLOEXEC));
  if (!copy)
    return fail("memfd_create", request.path);
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t done = sendfile(copy.get(), file.get(), nullptr, static_cast<size_t>(left));
    if (done < 0)
      return fail("sendfile", request.path);
    if (done == 0)
      break;
    left -= done;
  }
  return copy;
}

static Result<Fd> answer(const OpenRequest &request) {
  auto fd = openHere(request);
  return fd && request.copyMax > 0 ? copyOf(*fd, request) : std::move(fd);
}

std::optional<Error> startOpening(const OpenRequest &request, FdFromChild &opening) {
  return opening.start(request.path, [&] { return answer(request); });
}

} // namespace berth
