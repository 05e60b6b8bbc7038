/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells Slurm about the flags and collects what its callbacks bring.
 */
#ifndef BERTH_REGISTER_H
#define BERTH_REGISTER_H

#include <slurm/spank.h>

#include "options.h"

/** Only inside slurm_spank_init. A flag that another plugin has taken is Slurm's to report; jobs without it
 * must run. */
void register_flags(spank_t spank, unsigned int groups);
/** What the callbacks have brought since register_reset. */
const struct options *register_given(void);
/** Forgets it: srun parses each component of a heterogeneous step anew. */
void register_reset(void);

#endif
