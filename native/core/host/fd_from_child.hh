// SPDX-License-Identifier: Apache-2.0
/** A descriptor, or why there is none, from a forked child: a dead file server costs a process and no thread.
 */
#pragma once

#include "core/ns/child.hh"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace berth {

class FdFromChild {
public:
  /** Forks; `work` runs in the child. `path` is named when the child gives no answer. */
  std::optional<Error> start(const std::string &path, const std::function<Result<Fd>()> &work);
  /** Readable when finish() will not wait. */
  int fd() const { return child_->fd(); }
  Result<Fd> finish(int waitMsMax);
  /** Dropping it kills and reaps the child. */
  std::shared_ptr<Child> takeChild() { return std::move(child_); }

private:
  std::string path_;
  std::shared_ptr<Child> child_;
};

} // namespace berth
