/* SPDX-License-Identifier: Apache-2.0
 *
 * The shim's way to the worker: finds it, starts its keeper where root finds nobody, asks one question.
 */
#ifndef BERTH_CLIENT_H
#define BERTH_CLIENT_H

#include <limits.h>
#include <stdbool.h>

#include "error.h"
#include "place.h"
#include "settings.h"
#include "wire.h"

/** runtime_dir/worker.sock; false when longer than any path. */
bool client_socket(const struct settings *settings, char path[PATH_MAX]);
/**
 * A connection to the worker, or -1 with error filled. As root a keeper is started when nobody listens.
 * Bound: CLIENT_CONNECT_MS_MAX.
 */
int client_connect(const struct settings *settings, const struct place *place, struct error *error);
/** The same, but never starts anything: -1 when no worker is here, with error filled only where a stranger
 * is. */
int client_find(const struct settings *settings, struct error *error);
/** Sends frame with fds. 0, or -1 with error filled. */
int client_send(int fd, const struct frame_out *frame, const int *fds, size_t fd_count, struct error *error);
/** Waits for one frame. 0, or -1 with error filled (also from a FAIL frame). */
int client_receive(int fd, struct frame_in *answer, int wait_ms, struct error *error);

#endif
