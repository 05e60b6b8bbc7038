/* SPDX-License-Identifier: Apache-2.0
 *
 * The one fork and exec of the shim. slurmstepd has threads, so the child does nothing but system calls.
 */
#ifndef BERTH_CHILD_H
#define BERTH_CHILD_H

#include <stddef.h>

/** The program could not be executed. */
#define CHILD_NOT_RUN (-1)
/** No end within wait_ms; it was killed. */
#define CHILD_TIMED_OUT (-2)
/** Ended, but someone else has reaped it (slurmstepd waits for any child). */
#define CHILD_LOST (-3)

/**
 * Runs argv[0] with the default signal set-up, stdin from /dev/null, stdout joined to stderr, and no other
 * descriptor. Returns its exit status (128 + signal when killed by one) or one of the above.
 */
int child_run(const char *const *argv, char *const *environment, int wait_ms);
/** The same, but stdout goes to output (always terminated; what does not fit is a CHILD_NOT_RUN). */
int child_read(const char *const *argv, char *const *environment, int wait_ms, char *output, size_t size);

#endif
