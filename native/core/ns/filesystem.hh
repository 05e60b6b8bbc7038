// SPDX-License-Identifier: Apache-2.0
/** New file system instances as detached mounts: fsopen, fsconfig, fsmount. */
#pragma once

#include "core/result.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace berth {

struct FsOption {
  std::string key;
  /** Absent value: a flag. */
  std::string value;
  /** true: an option that this kernel does not know is left out. */
  bool optional = false;
};

/**
 * Makes a detached mount of `type` with kernel::kAttr… `attributes`. Needs CAP_SYS_ADMIN over the mount
 * namespace. A refusal carries the kernel's own sentence (what fscontext's log says) as message, the option
 * as path.
 */
Result<Fd> makeFilesystem(const char *type, const std::vector<FsOption> &options, uint64_t attributes);

/** "size=1g,huge=within_size" → options; empty parts are dropped. */
std::vector<FsOption> splitOptions(const std::string &text);

} // namespace berth
