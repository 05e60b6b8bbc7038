// SPDX-License-Identifier: Apache-2.0
/**
 * What the importer loses before it reads its first byte from the network: files beyond a few directories,
 * all writing except to descriptors it was given, new programs and processes, every privileged or
 * kernel-changing call.
 */
#pragma once

#include "core/result.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace berth {

struct Sandbox {
  /** Directories and files that may be read; missing ones are ignored. Below Linux 5.13 (Landlock) all may be
   * read. */
  std::vector<std::string> read;
  /** RLIMIT_FSIZE; beyond it write(2) fails with EFBIG. */
  uint64_t fileBytesMax = 0;
  /** May connect out by IPv4 and IPv6; never listens. */
  bool network = false;
  /** Keeps CAP_DAC_READ_SEARCH, for a process whose user namespace has nothing but one user's files. */
  bool readAny = false;
};

/** Holds for all threads of the process and cannot be undone. A failure leaves it half done: the process must
 * end. */
Result<> enterSandbox(const Sandbox &sandbox);

} // namespace berth
