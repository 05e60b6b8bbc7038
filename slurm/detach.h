/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns a process started from slurmd or slurmstepd into a daemon of the node that owes them nothing: no
 * cgroup, no namespace, no limit, no descriptor, no variable.
 */
#ifndef BERTH_DETACH_H
#define BERTH_DETACH_H

#include "keeper.h"

enum detached { DETACH_FAILED = -1, DETACH_PARENT, DETACH_CHILD };

/**
 * Returns twice: in the caller, and in the daemon, where only worker.log and `starter` are open, which is the
 * keeper's then. A daemon that cannot be tells it why, and never returns.
 */
enum detached detach(struct keeper *keeper, int starter);

#endif
