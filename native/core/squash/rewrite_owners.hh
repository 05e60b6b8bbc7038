// SPDX-License-Identifier: Apache-2.0
/** Makes all files of a copied image root's, as ConvertOptions::ownersToRoot does for converted ones. */
#pragma once

#include "../result.hh"

#include <cstdint>

namespace berth::unsquash {

/**
 * Rewrites the id table of the image in `fd` with zeros, one for each owner there was. It is written as plain
 * blocks, so that no compressor is needed; what lies behind it moves. Answers the file's new length, padded
 * to 4096 bytes. The file must be the caller's alone; it is to be verified after this, not before.
 */
Result<uint64_t> giveToRoot(int fd);

} // namespace berth::unsquash
