/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong with a worker, in the words that shim and launcher share; its FAIL frame as an error of
 * ours.
 */
#ifndef BERTH_FAIL_H
#define BERTH_FAIL_H

#include <sys/types.h>

#include "error.h"
#include "frame.h"

/** Copies the code, words and exit code, unless error is set already. Empty words stay empty: another task
 * said them. */
void fail_take(const struct frame_in *frame, struct error *error);

/** The error for errno EPROTONOSUPPORT of wire_receive: one side is of before berth was replaced. */
void fail_version(struct error *error);

/** The error for errno EPERM of wire_connect. Always -1. */
int fail_stranger(struct error *error, const char *socket, uid_t owner);

#endif
