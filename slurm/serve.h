/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's work: the socket outlives the worker, so a connection made while none runs waits for the next.
 */
#ifndef BERTH_SERVE_H
#define BERTH_SERVE_H

#include "keeper.h"

/* Someone answers at the socket already. */
#define SERVE_TAKEN (-2)

/** The listening socket, or -1 (logged), or SERVE_TAKEN. */
int serve_listen(const struct keeper *keeper);
/** Starts the worker on demand until it ends by itself with nobody waiting, crashes thrice, or SIGTERM. Exit
 * status. */
int serve(struct keeper *keeper, int listener);

#endif
