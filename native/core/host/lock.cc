// SPDX-License-Identifier: Apache-2.0
#include "lock.hh"

#include <sys/file.h>

namespace berth {

Result<bool> lockFile(int file) {
  if (flock(file, LOCK_EX | LOCK_NB) == 0)
    return true;
  if (errno != EWOULDBLOCK)
    return fail("flock");
  return false;
}

} // namespace berth
