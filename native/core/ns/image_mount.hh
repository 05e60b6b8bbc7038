// SPDX-License-Identifier: Apache-2.0
/** An image file → loop device → squashfs. Without libmount: two ioctls and three mount calls. */
#pragma once

#include "core/result.hh"

#include <cstdint>
#include <string>

namespace berth {

struct AttachedImage {
  Fd loop;
  std::string device;
  Fd mount;
};

/**
 * Attaches an open regular file read-only from `offset` and mounts the squashfs in it, detached. Closing both
 * descriptors frees device and superblock. Reads go through the page cache below: small ones are four times
 * as fast as direct ones. Fails as takeLoop() does.
 */
Result<AttachedImage> attachImage(int file, const std::string &name, uint64_t offset);

/** A further detached mount of the squashfs on a device; shares the superblock of the first. */
Result<Fd> mountImage(const std::string &device);

} // namespace berth
