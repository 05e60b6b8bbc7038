/* SPDX-License-Identifier: Apache-2.0
 *
 * The user's command: looked up in the PATH of its own environment, executed as execvp would.
 */
#ifndef BERTH_COMMAND_H
#define BERTH_COMMAND_H

#include "error.h"

/** Returns only on failure, with error filled: exit 127 not found, 126 found but not executable. */
void command_run(char **argv, char **environment, struct error *error);

#endif
