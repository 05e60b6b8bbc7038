// SPDX-License-Identifier: Apache-2.0
/** A file that one process at a time may hold. */
#pragma once

#include "core/result.hh"

namespace berth {

/**
 * Takes an open file until all copies of the descriptor are closed: when the process has ended, whatever
 * ended it, and its children that never called execve(2). For reading is enough, so that the file system can
 * still be made read-only. False: another one has it.
 */
Result<bool> lockFile(int file);

} // namespace berth
