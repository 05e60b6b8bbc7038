// SPDX-License-Identifier: Apache-2.0
/** A private copy of an image, to be verified and then mounted: see
 * docs/decisions/0003-verify-before-mount.md. */
#pragma once

#include "../result.hh"

#include <cstdint>

namespace berth::unsquash {

/**
 * Copies the image at `base` of `from` to the start of the empty file `to`, sharing blocks where the file
 * system can. Only the bytes that the superblock claims, padded with zeros to 4096: a loop device ends at a
 * whole sector, and what lies behind an image (appended data, the rest of a SIF) is nobody's business.
 * Answers the length of the copy. EUCLEAN when it is no squashfs, EFBIG over `sizeMax`, or the errno of
 * reading and writing.
 */
Result<uint64_t> copySquashfs(int from, int to, uint64_t sizeMax, uint64_t base = 0);

} // namespace berth::unsquash
