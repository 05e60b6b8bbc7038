// SPDX-License-Identifier: Apache-2.0
/** Flag words of a mount step → attributes of mount_setattr(2). */
#pragma once

#include "spec.hh"

#include <cstdint>

namespace berth {

struct MountFlags {
  /** kernel::kAttr… to set. Nothing is ever cleared: a bind can't give more than the host's own mount. */
  uint64_t attributes = 0;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE. */
  uint64_t propagation = 0;
};

/** EINVAL for an unknown word. nosuid always; nodev unless `device`: the host's device nodes stay usable. */
Result<MountFlags> parseFlags(const std::vector<std::string> &words, bool device);

/** Adds one flag word's attribute; false when it is none. */
bool addAttribute(const std::string &word, uint64_t &attributes);

} // namespace berth
