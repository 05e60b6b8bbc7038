/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's FAIL frame as an error of ours.
 */
#ifndef BERTH_FAIL_H
#define BERTH_FAIL_H

#include "error.h"
#include "frame.h"

/** Copies the code, words and exit code, unless error is set already. Empty words stay empty: another task
 * said them. */
void fail_take(const struct frame_in *frame, struct error *error);

/** The error for errno EPROTONOSUPPORT of wire_receive: one side is of before berth was replaced. */
void fail_version(struct error *error);

#endif
