/* SPDX-License-Identifier: Apache-2.0
 *
 * Where berth's other parts are: beside the plugin, so that a checkout runs from where it stands.
 */
#ifndef BERTH_PLACE_H
#define BERTH_PLACE_H

#include <limits.h>
#include <stdbool.h>

struct place {
  char launcher[PATH_MAX];
  char keeper[PATH_MAX];
  char node[PATH_MAX];
  char cli[PATH_MAX];
};

/** False when the plugin's own path cannot be told. */
bool place_find(struct place *place);

/** Name of the launcher's file, by which both sides recognise an argv[0] that is replaced already. */
#define LAUNCHER_NAME "berth-exec"

/** Read and unset by the launcher. The SLURM_ prefix takes it through --export=NONE. */
#define ARGV0_VARIABLE "SLURM_BERTH_ARGV0"
/** Set by srun when it has told the user why the step cannot run: nodes ask nobody, the launcher says
 * nothing. */
#define REFUSED_VARIABLE "SLURM_BERTH_REFUSED"

/** Set by slurmstepd where its signals reach every process of the step and not the task alone; see seat.h. */
#define SIGNALS_VARIABLE "BERTH_SIGNALS"
#define SIGNALS_REACH_ALL "all"
/** Where berth's commands find the worker of the node they run on; set where it is not the default. */
#define RUNTIME_DIR_VARIABLE "BERTH_RUNTIME_DIR"

#endif
