/* SPDX-License-Identifier: Apache-2.0
 *
 * ${NAME} in --container-mounts, with the variables of who submits: the job may get others (--export), the
 * node's are different ones.
 */
#ifndef BERTH_EXPAND_H
#define BERTH_EXPAND_H

#include "options.h"

/** Of one flag. What environment has not is left as it is: the grammar has defaults, and refuses the rest. */
void expand_variables(struct options *options, size_t flag, char *const *environment);

#endif
