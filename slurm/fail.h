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

/** The error of an answer that is no answer, in `what` way. Always -1. */
int fail_protocol(struct error *error, const char *what);

/** A failure of this node that a user cannot look into; text from the parts up to NULL. Always -1. */
int fail_node(struct error *error, const char *code, ...) __attribute__((sentinel));
/** The same for what should not happen: BERTH_EINTERNAL. */
int fail_internal(struct error *error, ...) __attribute__((sentinel));

/** The error for errno EPERM of wire_connect. Always -1. */
int fail_stranger(struct error *error, const char *socket, uid_t owner);

#endif
