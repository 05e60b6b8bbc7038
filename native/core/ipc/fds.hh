// SPDX-License-Identifier: Apache-2.0
/** Bytes and file descriptors over unix sockets: one sendmsg, one recvmsg. */
#pragma once

#include "core/result.hh"

#include <cstddef>
#include <sys/types.h>
#include <vector>

namespace berth {

/**
 * One frame carries at most 8 (BERTH_FRAME_FDS_MAX) and the kernel never merges two messages with
 * descriptors, so more than this in one recvmsg is an attempt to fill our table: the kernel drops the rest
 * and says MSG_CTRUNC.
 */
constexpr size_t kFdsPerMessageMax = 16;

/** Bytes sent, or -1 with errno. Never raises SIGPIPE; the descriptors go with the first byte. */
ssize_t sendWithFds(int socket, const void *data, size_t length, const int *fds, size_t fdCount);

struct Received {
  /** As recvmsg: 0 is the end, -1 an error (errno); EMSGSIZE when more descriptors came than allowed. */
  ssize_t length = -1;
  /** CLOEXEC; closed when not taken. */
  std::vector<Fd> fds;
};

/**
 * Without `wanted` descriptors never come into this process: closing one can wait for the file server of
 * whoever sent it (FUSE flush). Bytes that carry some are then EMSGSIZE.
 */
Received receiveWithFds(int socket, void *buffer, size_t length, bool wanted = true);

} // namespace berth
