/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames over a unix socket. Every call has a bound in milliseconds; no call raises SIGPIPE; all descriptors
 * CLOEXEC.
 */
#ifndef BERTH_WIRE_H
#define BERTH_WIRE_H

#include <sys/types.h>

#include "frame.h"

/** Milliseconds of the monotonic clock. */
long long wire_now(void);
void wire_sleep(int wait_ms);
/**
 * Connected socket or -1 with errno; ETIMEDOUT when the listener's queue stays full for wait_ms; EPERM when
 * it is neither root's nor our own user's, with its uid in *owner (may be NULL): a worker's answers are
 * carried out, and a socket may be anybody's where its directory is.
 */
int wire_connect(const char *path, int wait_ms, uid_t *owner);
/** 0 or -1 with errno. fds stay the caller's. */
int wire_send(int fd, const struct frame_out *frame, const int *fds, size_t fd_count, int wait_ms);
/** 1: a frame; 0: the peer closed between frames; -1 with errno (ETIMEDOUT, EPROTO, ECONNRESET inside a
 * frame). */
int wire_receive(int fd, struct frame_in *frame, int wait_ms);

#endif
