/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's JOIN frame carried out: namespaces, working directory, privileges, environment, command.
 */
#ifndef BERTH_JOIN_H
#define BERTH_JOIN_H

#include "error.h"
#include "frame.h"

/** Becomes the user's command. Returns only on failure, with error filled. argv may be empty when the frame
 * has one. */
void join_run(struct frame_in *frame, char **argv, char *const *environment, struct error *error);

#endif
