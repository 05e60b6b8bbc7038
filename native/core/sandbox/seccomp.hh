// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hh"

namespace berth {

/**
 * Refuses with EPERM, for all threads: programs and processes, opening files for writing and every change to
 * names, privileged calls, signals to others, sockets other than IPv4/IPv6 (those too without `network`).
 */
Result<> filterSystemCalls(bool network);

} // namespace berth
