// SPDX-License-Identifier: Apache-2.0
/** What this kernel can do, found by doing it: version numbers lie where distributions patch. */
#pragma once

#include <string>

namespace berth {

struct KernelFeatures {
  std::string release;
  bool mountApi = false;
  bool loop = false;
  bool squashfs = false;
  bool overlay = false;
  bool userNamespaces = false;
  bool squashfsIdmap = false;
  bool landlock = false;
  bool pidfd = false;
};

/** Attaches and mounts an empty image and builds a namespace on it; some milliseconds. Needs root for a true
 * answer. */
KernelFeatures probeKernel();

} // namespace berth
