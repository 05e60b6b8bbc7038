// SPDX-License-Identifier: Apache-2.0
/** Waits on the loop for a child process at work: no thread is held while it may hang in a file system. */
#pragma once

#include "core/ns/child.hh"

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

} // namespace berth::binding
