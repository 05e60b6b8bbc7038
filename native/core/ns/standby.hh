// SPDX-License-Identifier: Apache-2.0
/** A forked process that keeps the rights which its parent gives up, for one thing to do later. */
#pragma once

#include "core/result.hh"

#include <functional>
#include <sys/types.h>

namespace berth {

class Standby {
public:
  /** Forks. `work` runs in the child once finish() is called; the child ends with its parent. */
  Result<> start(const std::function<Result<>()> &work);
  /** Has it done and waits for it. Of a failure the errno comes back, under the names given here. */
  Result<> finish(const char *syscall, const char *object);

private:
  pid_t pid_ = -1;
  Fd go_;
};

} // namespace berth
