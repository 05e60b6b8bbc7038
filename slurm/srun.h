/* SPDX-License-Identifier: Apache-2.0
 *
 * The submit side: srun, sbatch, salloc (and scrontab). Raw options in, a check by the worker, environment
 * out.
 */
#ifndef BERTH_SRUN_H
#define BERTH_SRUN_H

#include <slurm/spank.h>

/** init: makes the flags known, takes what an enclosing job hands down. */
void srun_init(spank_t spank, int count, char **arguments);
/** init_post_opt, once per component: merges, checks, hands on; ends the command, before anything is queued,
 * if it refuses. */
void srun_check(spank_t spank);
/** local_user_init (srun only): the image's digest, and the launcher as argv[0]. */
int srun_launch(spank_t spank);
int srun_exit(void);

#endif
