/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's JOIN frame carried out: namespaces, working directory, privileges, environment, command.
 */
#ifndef BERTH_JOIN_H
#define BERTH_JOIN_H

#include <stdbool.h>

#include "error.h"
#include "frame.h"

/** The container has a pid namespace of its own, which only a child of whoever joins is in. */
bool join_has_pids(const struct frame_in *frame);
/** What keeps that namespace alive while it is open, or -1; the frame's. */
int join_lease(const struct frame_in *frame);
/** Enters all of the frame's namespaces. 0, or -1 with error filled. */
int join_namespaces(const struct frame_in *frame, struct error *error);
/** Becomes the user's command. Returns only on failure, with error filled. argv may be empty when the frame
 * has one. */
void join_run(struct frame_in *frame, char **argv, char *const *environment, struct error *error);

#endif
