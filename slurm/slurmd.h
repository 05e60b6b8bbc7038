/* SPDX-License-Identifier: Apache-2.0
 *
 * The prolog (run by slurmd in a process of its own): starts fetching the image while the job still starts.
 */
#ifndef BERTH_SLURMD_H
#define BERTH_SLURMD_H

#include <slurm/spank.h>

/** Always 0: a failing prolog would drain the node. */
int slurmd_prolog(spank_t spank, int count, char **arguments);

#endif
