// SPDX-License-Identifier: Apache-2.0
#include "files.hh"

#include "core/ns/kernel.hh"

#include <sched.h>

namespace berth {

constexpr uint64_t kAlways = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

static Result<Fd> openHere(const OpenRequest &request) {
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
  Fd fd = kernel::openAt(start ? start.get() : AT_FDCWD, request.path.c_str(), how);
  if (!fd)
    return fail("openat2", request.path);
  return fd;
}

std::optional<Error> OpenAs::start(const OpenRequest &request) {
  path_ = request.path;
  auto child = Child::start([&](ParentLink &parent) {
    auto fd = openHere(request);
    if (fd)
      parent.send(Report::kDone, fd->get());
    else
      parent.failed(fd.error(), -1);
  });
  if (!child)
    return child.error();
  child_ = std::make_shared<Child>(std::move(*child));
  return std::nullopt;
}

Result<Fd> OpenAs::finish(int waitMsMax) {
  auto report = child_->receive(waitMsMax);
  if (!report) {
    report.error().path = path_;
    return report.error();
  }
  if (report->kind == Report::kFailed)
    return report->error;
  return std::move(report->fd);
}

} // namespace berth
