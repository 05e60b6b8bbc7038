// SPDX-License-Identifier: Apache-2.0
/** When a file that is complete counts as written. */
#pragma once

namespace berth::squash {

/**
 * Whether fsync comes before the file gets its name. `durable`: always. Otherwise not where this kernel has
 * the file system for itself: space was reserved by write(2), and what a crash would take is a new file, as
 * with any other that a job wrote. Elsewhere (NFS, Lustre, FUSE) other nodes read the file and only fsync
 * tells what its server could not keep.
 */
bool waitsForDisk(int fd, bool durable);

} // namespace berth::squash
