/* SPDX-License-Identifier: Apache-2.0
 *
 * The submit check: a bad option fails before the job is queued, and a tag becomes a digest, so that all
 * nodes and all later starts of the job run the same image. A worker that is silent or absent never holds a
 * job up.
 */
#ifndef BERTH_CHECK_H
#define BERTH_CHECK_H

#include "client.h"
#include "options.h"

struct check {
  /** -1: no worker, or the answer is in. */
  int connection;
  long long deadline;
};

/** Asks, and waits for the answer about grammar and policy. 0 (also without a worker) or -1 with error
 * filled. */
int check_start(struct check *check, const struct settings *settings, const char *context,
                const struct options *options, struct error *error);
/** Waits for what the registry says and puts pinned values into options. 0 or -1 with error filled. */
int check_finish(struct check *check, struct options *options, struct error *error);
/** Grammar only, by `berth check`, which prints for itself. -1 when it refuses. */
int check_by_command(const struct settings *settings, const struct place *place, const char *context,
                     const struct options *options);
void check_close(struct check *check);

#endif
