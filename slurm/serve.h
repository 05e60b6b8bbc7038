/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's work: the socket outlives the worker, so a connection made while none runs waits for the next.
 */
#ifndef BERTH_SERVE_H
#define BERTH_SERVE_H

#include <stdbool.h>

#include "keeper.h"

/* Someone answers at the socket already. */
#define SERVE_TAKEN (-2)

/** Whether someone listens at the socket, as far as one can tell. */
bool serve_answers(const struct keeper *keeper);
/** The listening socket, or -1 (the starter was told), or SERVE_TAKEN. */
int serve_listen(struct keeper *keeper);
/** Starts the worker on demand until it ends by itself with nobody waiting, crashes thrice, or SIGTERM. Exit
 * status. */
int serve(struct keeper *keeper, int listener);

#endif
