// SPDX-License-Identifier: Apache-2.0
/** Where a step without a name writes on disk: a file of fixed size, a loop device, ext4. */
#pragma once

#include "core/result.hh"
#include "loop_device.hh"

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace berth {

/**
 * Gives an empty file to a user, whose disk quota counts it from then on, and reserves so many bytes: what is
 * written later is never lost to a full disk. A file system that can reserve nothing (EOPNOTSUPP) is taken as
 * it is. The calling thread does without CAP_SYS_RESOURCE meanwhile, with which neither quotas nor reserved
 * blocks would count. ENOSPC, EDQUOT: not that much is there, and nothing is kept.
 */
Result<> reserveFor(int file, uid_t user, uint64_t bytes);

/** Mounts the ext4 on a device, detached, nosuid and nodev. ENODEV: this kernel has no ext4. */
Result<Fd> mountStepDisk(const std::string &device);

} // namespace berth
