/* SPDX-License-Identifier: Apache-2.0
 *
 * The launcher in front of the user's command. A step's argv cannot be lengthened, so argv[0] is exchanged in
 * place and the original kept in ARGV0_VARIABLE; Slurm 23.11 and later can prepend. With --multi-prog, srun
 * of earlier versions writes it into the text that the nodes take their commands from.
 */
#ifndef BERTH_ARGV_H
#define BERTH_ARGV_H

#include <stdbool.h>

#include <slurm/spank.h>

#include "error.h"

/** On the node, in the task's process. 0 or -1 with error filled. */
int argv_put_launcher(spank_t spank, char *const *environment, const char *launcher, struct error *error);
/** In srun, so that a node without the plugin meets the launcher and not the bare command; `component` tells
 * the parts of a heterogeneous step apart. 0 or -1. */
int argv_put_launcher_local(spank_t spank, const char *launcher, unsigned int component, struct error *error);

#endif
