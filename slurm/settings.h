/* SPDX-License-Identifier: Apache-2.0
 *
 * The arguments of the plugstack.conf line. Those the shim does not know are the worker's: it gets them all.
 */
#ifndef BERTH_SETTINGS_H
#define BERTH_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/* A plugstack line holds few; more are refused. */
#define SETTINGS_MORE_MAX 64
/* src/cli/places.ts looks there without being told. */
#define RUNTIME_DIR_DEFAULT "/run/berth"

struct settings {
  const char *runtime_dir;
  /** NULL: what berth.conf says. */
  const char *store;
  const char *config;
  /** NULL: the node binary beside the plugin. */
  const char *node;
  /** Whether sbatch and salloc know the flags. */
  bool sbatch;
  /** FLAG_* bits: other products' words that are known too. */
  unsigned int groups;
  /** "KEY=VALUE" as they stand on the line, for the worker. */
  const char *more[SETTINGS_MORE_MAX];
  size_t more_count;
};

/** The arrays are Slurm's and outlive the call. Fills error when the line cannot be used. */
void settings_read(struct settings *settings, int count, char *const *arguments, struct error *error);

#endif
