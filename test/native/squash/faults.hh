// SPDX-License-Identifier: Apache-2.0
/**
 * Lets the N-th system call of a kind fail, within this program: build with FAULTS_FLAGS of faults.test.ts,
 * so that the linker sends the engine's calls through faults.cc.
 */
#pragma once

#include <cstdint>

namespace faults {

enum Call : unsigned { PWRITE, COPY_FILE_RANGE, FALLOCATE, FTRUNCATE, FSYNC, PREAD, CALLS };
inline constexpr const char *NAMES[CALLS] = {"pwrite",    "copy_file_range", "fallocate",
                                             "ftruncate", "fsync",           "pread"};

/** Instead of an errno. */
inline constexpr int HALF = -1, NOTHING = -2;

struct Fault {
  Call call = CALLS;
  /** From 1. */
  uint64_t at = 0;
  int error = 0;
  /** All calls that take space fail from this one on, as on a full disk. */
  bool stays = false;
  /** The file system copies nothing in the kernel: EXDEV, not counted. */
  bool byHand = false;
};

/** Counts from zero again. */
void arm(const Fault &fault);
/** Calls of a kind since arm(). */
uint64_t count(Call call);
bool struck();
/** Whether one of these failed; threads that meet a full disk at once may each be the one that tells. */
bool struck(Call call);

} // namespace faults
