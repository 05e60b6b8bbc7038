/* SPDX-License-Identifier: Apache-2.0
 *
 * slurmstepd's side: registers the step, announces each task, puts the launcher in front, releases at the
 * end.
 */
#ifndef BERTH_STEPD_H
#define BERTH_STEPD_H

#include <slurm/spank.h>

/** init: makes the flags known. */
void stepd_init(spank_t spank, int count, char **arguments);
/** init_post_opt, as root: tells the worker about the step when it wants a container. Never fails. */
int stepd_register(spank_t spank);
/** task_init_privileged, as root in the task's process: tells the worker about the task. Never fails. */
int stepd_announce(spank_t spank);
/** task_init, as the user in the task's process: argv[0] becomes the launcher; ends the process
 * when there is no container for it. */
void stepd_prepare(spank_t spank);
/** task_exit: after the last task the step is released, and saved if the user asked for it. */
int stepd_task_ended(spank_t spank);
/** exit: lets go of everything. */
int stepd_exit(void);

#endif
