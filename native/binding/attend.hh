// SPDX-License-Identifier: Apache-2.0
/** Waits on the loop for a child process at work: no thread is held while it may hang in a file system. */
#pragma once

#include "core/host/fd_from_child.hh"

#include <functional>
#include <memory>
#include <napi.h>

namespace berth::binding {

/**
 * Calls `step(wait)` whenever `fd` is readable, with 0, until it answers true; after `waitMsMax` once with 0
 * as well, which then finds nothing and reports ETIMEDOUT. Keeps the process alive meanwhile. The child from
 * `takeChild` is killed and reaped on the pool, after the answer was given.
 */
void attend(Napi::Env env, int fd, int waitMsMax, std::function<bool()> step,
            std::function<std::shared_ptr<Child>()> takeChild);

/** Runs `start` on the pool, then waits for the descriptor that its child answers. */
Napi::Value promiseFd(Napi::Env env, int waitMsMax, std::function<std::optional<Error>(FdFromChild &)> start);

} // namespace berth::binding
