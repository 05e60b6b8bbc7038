// SPDX-License-Identifier: Apache-2.0
/**
 * An empty mount namespace to start from: only a read-only tmpfs with nothing in it. Whoever builds there
 * copies two mounts instead of the host's hundreds, needs no pivot_root (which the kernel refuses on diskless
 * nodes that run from their initramfs) and no umount, each of which waits for an RCU grace period
 * (docs/decisions/0004-namespaces.md).
 */
#pragma once

#include "core/result.hh"

#include <memory>
#include <string>

namespace berth {

/** Made once by a forked child, then kept. `staging`: an existing directory, covered only inside that child.
 */
Result<std::shared_ptr<Fd>> voidNamespace(const std::string &staging);

/** The calling process enters a new private copy of it; "/" and the working directory are the empty root. */
Result<> enterVoid(int voidNs);

} // namespace berth
