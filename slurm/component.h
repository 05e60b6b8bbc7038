/* SPDX-License-Identifier: Apache-2.0
 *
 * Components of a heterogeneous step share srun's environment, which carries the words that the launcher
 * stands for. So each component has a variable of its own, and tells its launcher which by the path it is
 * called by: as many
 * "/." before the file name as its number.
 */
#ifndef BERTH_COMPONENT_H
#define BERTH_COMPONENT_H

#include <limits.h>
#include <stdbool.h>

/** Room for ARGV0_VARIABLE and a number. */
#define COMPONENT_VARIABLE_MAX 64

/** The number in a launcher's path; 0: the first one, or the only one. */
unsigned int component_of(const char *path);
/** False when the path becomes too long. */
bool component_path(const char *launcher, unsigned int component, char path[PATH_MAX]);
void component_variable(unsigned int component, char name[COMPONENT_VARIABLE_MAX]);

#endif
