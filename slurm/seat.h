/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a command sits whose launcher stays: which process group, whose terminal, and who of the two hears a
 * signal. Each signal for the task must reach the command once.
 *
 * - proctrack/cgroup and pgid signal the launcher, which is the task that Slurm knows; SIGKILL goes to all
 * processes
 * - proctrack/linuxproc signals every process below slurmstepd, or the launcher alone: see witness.h
 * - a terminal signals its foreground process group
 */
#ifndef BERTH_SEAT_H
#define BERTH_SEAT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct seat {
  /** The terminal that the command becomes the session leader of, or -1. */
  int terminal;
  /** The command stays in the launcher's process group. */
  bool shared;
  /** Tells whether what slurmstepd sent has reached the command too, or -1: it does not. */
  int witness;
};

/**
 * Before the fork, `witness` set: blocks all signals (*before: what was blocked) and lets go of the terminal
 * for a command that is to be `apart`, in a pid namespace, where job control needs a session leader that has
 * a number.
 */
void seat_prepare(struct seat *seat, bool apart, sigset_t *before);
/** In the child. */
void seat_take(const struct seat *seat);
/** In the launcher: passes signals on, stops and goes on with the command. How it ended, as waitpid(2) says.
 */
int seat_attend(const struct seat *seat, pid_t child);

#endif
