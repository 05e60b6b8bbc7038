/* SPDX-License-Identifier: Apache-2.0
 *
 * The launcher of a container that is to be saved: it runs the command in a child and stays, so that the save
 * is over, and part of the exit code, before anyone hears that the task has ended.
 */
#ifndef BERTH_STAY_H
#define BERTH_STAY_H

#include <stdbool.h>

#include "error.h"
#include "frame.h"

/** The JOIN frame says so. */
bool stay_is_asked(const struct frame_in *frame);
/**
 * Forks. True in the child, which goes on to become the command. In the launcher false, when the command has
 * ended and the worker has answered: *status is the command's exit code (a signal that ended it ends the
 * launcher too), or error is filled, whose exit code is the command's own unless that was 0.
 */
bool stay(int connection, int *status, struct error *error);
/** In the child, when it could not become the command: then nothing is saved. */
void stay_failed(void);

#endif
