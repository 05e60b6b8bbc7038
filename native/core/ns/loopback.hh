// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hh"

namespace berth {

/** Brings "lo" up in the current network namespace; needs CAP_NET_ADMIN over it. */
Result<> raiseLoopback();

} // namespace berth
