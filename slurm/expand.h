/* SPDX-License-Identifier: Apache-2.0
 *
 * ${NAME} in --container-mounts, with the variables of who submits: the job may get others (--export), the
 * node's are different ones.
 */
#ifndef BERTH_EXPAND_H
#define BERTH_EXPAND_H

#include "options.h"

/** Replaces what environment has in the mounts; the rest, as SLURM_JOB_ID or a default, is left to the node.
 */
void expand_mounts(struct options *options, char *const *environment);

#endif
