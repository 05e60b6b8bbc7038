/* SPDX-License-Identifier: Apache-2.0
 *
 * A launcher that stays while its command runs in a child: of a container that is to be saved, so that the
 * save is over, and part of the exit code, before anyone hears that the task has ended; and of a container
 * with a pid namespace, which the launcher itself cannot enter.
 */
#ifndef BERTH_STAY_H
#define BERTH_STAY_H

#include <stdbool.h>
#include <sys/types.h>

#include "error.h"
#include "frame.h"

/** The JOIN frame asks for it, to save. */
bool stay_is_asked(const struct frame_in *frame);
/**
 * Forks. True in the child, which goes on to become the command. In the launcher false, when the command has
 * ended and, where it is saved, the worker has answered: *status is the command's exit code (a signal that
 * ended it ends the launcher too), or error is filled, whose exit code is the command's own unless that was
 * 0. Signals that reach the launcher alone are the command's; `witness` (witness.h) was started before the
 * launcher joined anything.
 */
bool stay(const struct frame_in *frame, int connection, int witness, int *status, struct error *error);
/** This process is such a child. */
bool stay_is_child(void);
/**
 * Ends this process with its parent, also when that is killed: a container of `berth run` with that, a
 * command with its launcher. After setns, which resets the wish (prctl(2)). -1 with error filled when the
 * parent was faster.
 */
int stay_with(pid_t parent, struct error *error);
/** In the child, when it could not become the command: then nothing is saved. */
void stay_failed(void);

#endif
