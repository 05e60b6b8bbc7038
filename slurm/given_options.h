/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells Slurm about the flags and collects what its callbacks bring.
 */
#ifndef BERTH_GIVEN_OPTIONS_H
#define BERTH_GIVEN_OPTIONS_H

#include <slurm/spank.h>

#include "options.h"

/** Only inside slurm_spank_init. A flag that another plugin has taken is Slurm's to report; jobs without it
 * must run. */
void given_register_flags(spank_t spank, unsigned int groups);
/** What the callbacks have brought since given_reset. */
const struct options *given_options(void);
/** Forgets it: srun parses each component of a heterogeneous step anew. */
void given_reset(void);

#endif
