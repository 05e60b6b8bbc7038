/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of berth-keeper share: its arguments and its log.
 */
#ifndef BERTH_KEEPER_H
#define BERTH_KEEPER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

/* As many as plugstack.conf may hold (SETTINGS_MORE_MAX) and our own. */
#define KEEPER_ARGUMENTS_MAX 80

struct keeper {
  /** Who waits for the start reads here why there is none: stdout, once detached a pipe; -1: nobody waits. */
  int starter;
  /** stderr is worker.log. */
  bool logs;
  char runtime_dir[PATH_MAX];
  char socket[PATH_MAX];
  /** The socket's file: who empties runtime_dir makes place for another keeper's. */
  struct stat own;
  /** Program and arguments of the worker, NULL-terminated. */
  char *worker[KEEPER_ARGUMENTS_MAX + 4];
  char node[PATH_MAX];
  char script[PATH_MAX];
};

/** One line to stderr (worker.log once detached): time, "berth-keeper: ", the parts up to NULL. */
void keeper_log(const char *first, ...) __attribute__((sentinel));
/** Tells the starter, and worker.log once there is one, why there is no keeper. Always false. */
bool keeper_refuse(const struct keeper *keeper, const char *first, ...) __attribute__((sentinel));

#endif
