/* SPDX-License-Identifier: Apache-2.0
 *
 * --multi-prog: Slurm hands over the text of the user's file, a line for each set of tasks, and each node
 * picks the commands from it. Before Slurm 23.11 nothing but this text leads to them.
 */
#ifndef BERTH_MULTI_PROG_H
#define BERTH_MULTI_PROG_H

#include <stdbool.h>

/** True when its first line that is no comment starts with task numbers. */
bool multi_prog_is_text(const char *text);
/** True when the launcher is in front of its commands. */
bool multi_prog_has_launcher(const char *text);
/** New text with the launcher in front of every command; NULL without memory, or when the launcher's path has
 * a sign that means something there. */
char *multi_prog_with_launcher(const char *text, const char *launcher);

#endif
