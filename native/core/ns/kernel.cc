// SPDX-License-Identifier: Apache-2.0
#include "kernel.hh"

namespace berth::kernel {

/**
 * With RESOLVE_IN_ROOT the kernel gives EAGAIN when any rename or mount on the machine ran while it walked
 * over ".."; openat2(2) asks callers to bound their loop. Many steps may start at once on a node, each with
 * dozens of mounts.
 */
constexpr int kTriesMax = 128;

Fd openAt(int directory, const char *path, const OpenHow &how) {
  for (int tries = 1;; tries++) {
    const long fd = syscall(kOpenat2, directory, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == kTriesMax)
      return Fd(static_cast<int>(fd));
  }
}

} // namespace berth::kernel
