// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sandbox.hh"

namespace berth {

/** A ruleset that allows reading below the given paths and nothing else; empty where the kernel has no
 * Landlock. */
Result<Fd> makeRuleset(const Sandbox &sandbox);

/** Puts the calling thread below the ruleset; needs no_new_privs. Safe in a signal handler; 0 or errno. */
int restrictThread(int ruleset);

} // namespace berth
