/* SPDX-License-Identifier: Apache-2.0
 *
 * Behind an entrypoint: what the launcher had put aside for the user's command is put back, then it runs.
 */
#ifndef BERTH_RESUME_H
#define BERTH_RESUME_H

#include <stdbool.h>

#include "error.h"

/* Where the worker binds the launcher into containers that have an entrypoint to run. */
#define RESUME_PROGRAM "/.berth/exec"
/* Three descriptors follow: stdout, stderr, state. */
#define RESUME_OPTION "--resume="

/** What the entrypoint inherits for the command; -1: was closed. */
struct saved {
  int stdout_fd;
  int stderr_fd;
  /** K=V\0...\0\0NAME\0...: the command's environment, then the names that the entrypoint cannot change. */
  int state_fd;
};

/** Makes the saved outputs descriptors 1 and 2 again. */
void resume_outputs(const struct saved *saved);
/** True for the command line that an entrypoint was given. */
bool resume_is_asked(char *const *argv);
/** Becomes the user's command. Returns only on failure. */
void resume_run(char **argv, char *const *environment, struct error *error);

#endif
