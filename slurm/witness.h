/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a signal was meant for every process of the step, or for the launcher alone. proctrack/linuxproc
 * signals all of them, children before their parents (kill_tree.c of Slurm), except what is for a batch
 * script (`scancel --batch`, --signal=B:…). The witness is a child that holds its signals back: what it has
 * got by now, the command has got.
 */
#ifndef BERTH_WITNESS_H
#define BERTH_WITNESS_H

#include <stdbool.h>

/** Its end of a socket, on which it ends, or -1 where no signal reaches all. It has no other descriptor, and
 * the namespaces of the launcher at this time. */
int witness_start(void);
/** Whether it was sent `number` since it was last asked; it forgets. Also true when it cannot answer. */
bool witness_saw(int witness, int number);

#endif
