/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-prolog.so, an optional second plugstack line: a plugin that has a prolog hook costs every job, with
 * or without a container, one more slurmstepd on each node (slurmd decides by the symbol alone), so the hook
 * does not live in berth.so.
 */
#include <slurm/spank.h>

#include "plugin_version.h"
#include "slurmd.h"

EXPORT const char plugin_name[] = "berth_prolog";

EXPORT int slurm_spank_job_prolog(spank_t spank, int count, char *arguments[]) {
  return slurmd_prolog(spank, count, arguments);
}
