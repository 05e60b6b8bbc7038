// SPDX-License-Identifier: Apache-2.0
/**
 * Is a squashfs file what the kernel may be given? Every table and every block is read: what passes has one
 * tree of legal names, no reference that leads astray, and data that unpacks to the promised length. See
 * docs/decisions/0003-verify-before-mount.md for what this protects against.
 */
#pragma once

#include "read_limits.hh"
#include "read_source.hh"

namespace berth::unsquash {

struct Verified {
  /** Names in directories, and the root. */
  uint64_t entries = 0;
  uint64_t inodes = 0;
  /** Of files, hard links once, holes not counted. */
  uint64_t bytes = 0;
  /** Bytes the image occupies; what follows in the file is padding. */
  uint64_t bytesUsed = 0;
  uint32_t blockSize = 0;
  std::string compressor;
};

/**
 * Verifies the image at `base` of a regular file that nobody else may write: otherwise the answer is stale at
 * once. Error: EUCLEAN and a sentence (which structure, which byte, what is wrong), EOPNOTSUPP for
 * compressors that cannot be checked and other versions, EFBIG over a limit, or the errno of reading.
 */
Result<Verified> verifySquashfs(int fd, const Limits &limits, uint64_t base = 0);

/** The same in memory. */
Result<Verified> verifySquashfs(std::span<const uint8_t> image, const Limits &limits);

} // namespace berth::unsquash
