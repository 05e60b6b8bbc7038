/* SPDX-License-Identifier: Apache-2.0
 *
 * The image's entrypoint before the user's command: it sees the image's environment, its words go nowhere
 * unless they were asked for, and what it executes in the end is the launcher again (resume.h), which gives
 * the command its own environment and outputs back (docs/decisions/0008-owners-and-entrypoint.md).
 */
#ifndef BERTH_ENTRYPOINT_H
#define BERTH_ENTRYPOINT_H

#include <stdbool.h>

#include "error.h"
#include "frame.h"
#include "variables.h"

bool entrypoint_is_asked(const struct frame_in *frame);
/** Becomes the entrypoint; command and variables are those of the user's command. Returns only on failure. */
void entrypoint_run(const struct frame_in *frame, char **command, const struct variables *variables,
                    struct error *error);

#endif
