/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment of the user's command: the task's own, edited as the worker says.
 */
#ifndef BERTH_VARIABLES_H
#define BERTH_VARIABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"

struct variables {
  /** NULL-terminated, for execve. */
  char **list;
  size_t count;
  size_t capacity;
};

/** Copies the pointers of environment. False without memory. */
bool variables_copy(struct variables *variables, char *const *environment);
void variables_unset(struct variables *variables, const char *name);
/** Every variable whose name begins so. */
void variables_unset_all(struct variables *variables, const char *prefix);
/** Takes ownership of "K=V" and replaces K. False without memory or without "=". */
bool variables_set(struct variables *variables, char *pair);
/** Adds "K=V" as it is, also when there is a K already. False without memory. */
bool variables_add(struct variables *variables, char *pair);
/** All edits of a JOIN frame: first every ENV_UNSET, then ENV_SET, then ENV_DEFAULT where K is still missing,
 * then ENV_COPY where its source is there. */
bool variables_edit(struct variables *variables, const struct frame_in *frame);

#endif
