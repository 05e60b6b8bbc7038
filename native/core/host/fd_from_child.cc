// SPDX-License-Identifier: Apache-2.0
#include "fd_from_child.hh"

namespace berth {

std::optional<Error> FdFromChild::start(const std::string &path, const std::function<Result<Fd>()> &work) {
  path_ = path;
  auto child = Child::start([&](ParentLink &parent) {
    auto fd = work();
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

Result<Fd> FdFromChild::finish(int waitMsMax) {
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
