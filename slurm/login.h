/* SPDX-License-Identifier: Apache-2.0
 *
 * The user's own side of credentials: a program of berth's that asks the user's credential helpers, run by a
 * process of the user's, because root must not (docs/decisions/0025-logins-of-users.md).
 */
#ifndef BERTH_LOGIN_H
#define BERTH_LOGIN_H

#include "wire.h"

/* The program gives each helper 20 s; a user has one or two of them. */
#define LOGIN_MS_MAX 45000

/** Runs what a LOGIN frame names and sends what it prints as TOLD, empty when it failed. 0 or -1 with errno.
 */
int login_answer(int connection, const struct frame_in *question, int wait_ms);

#endif
