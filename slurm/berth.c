/* SPDX-License-Identifier: Apache-2.0
 *
 * The SPANK symbols and nothing else: each calls one file. Every hook answers exactly 0 or -1: Slurm
 * before 25.05 takes a positive value for a warning and runs the task without its container.
 */
#include <stdbool.h>

#include <slurm/spank.h>

#include "plugin_version.h"
#include "srun.h"
#include "stepd.h"

EXPORT const char plugin_name[] = "berth";

static int strict(int result) { return result == 0 ? 0 : -1; }

static bool is_submit(void) { return spank_context() == S_CTX_LOCAL || spank_context() == S_CTX_ALLOCATOR; }

EXPORT int slurm_spank_init(spank_t spank, int count, char *arguments[]) {
  /* Nothing to refuse here, and nothing at all in slurmd: it would not start. */
  if (is_submit())
    srun_init(spank, count, arguments);
  else if (spank_context() == S_CTX_REMOTE)
    stepd_init(spank, count, arguments);
  return 0;
}

EXPORT int slurm_spank_init_post_opt(spank_t spank, int count, char *arguments[]) {
  (void)count;
  (void)arguments;
  if (is_submit()) {
    srun_check(spank);
    return 0;
  }
  return spank_context() == S_CTX_REMOTE ? strict(stepd_register(spank)) : 0;
}

EXPORT int slurm_spank_local_user_init(spank_t spank, int count, char *arguments[]) {
  (void)count;
  (void)arguments;
  return strict(srun_launch(spank));
}

EXPORT int slurm_spank_task_init_privileged(spank_t spank, int count, char *arguments[]) {
  (void)count;
  (void)arguments;
  return strict(stepd_announce(spank));
}

EXPORT int slurm_spank_task_init(spank_t spank, int count, char *arguments[]) {
  (void)count;
  (void)arguments;
  stepd_prepare(spank);
  return 0;
}

EXPORT int slurm_spank_task_exit(spank_t spank, int count, char *arguments[]) {
  (void)count;
  (void)arguments;
  return strict(stepd_task_ended(spank));
}

EXPORT int slurm_spank_exit(spank_t spank, int count, char *arguments[]) {
  (void)spank;
  (void)count;
  (void)arguments;
  if (is_submit())
    return strict(srun_exit());
  return spank_context() == S_CTX_REMOTE ? strict(stepd_exit()) : 0;
}
