/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_UNGROUP_H
#define BERTH_UNGROUP_H

/**
 * Leaves the cgroups of slurmd and of the step: what stays in a step's is killed and charged with it, what
 * stays in slurmd's can keep its unit from starting again (slurmd 25.11.3 and later delegates from there).
 * Cgroups of anyone else stay as they are. Failures are logged.
 */
void ungroup(void);

#endif
