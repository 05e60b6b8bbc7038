// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hh"

namespace berth {

/**
 * Runs `work` once in every thread of the process, also in those that Node and libuv made with all signals
 * blocked: it travels on the signal that the C library keeps for setuid(2) and never lets anybody block.
 * `work` runs in a signal handler and answers 0 or errno. ETIMEDOUT when a thread did not answer within
 * seconds.
 */
Result<> onEveryThread(int (*work)());

} // namespace berth
