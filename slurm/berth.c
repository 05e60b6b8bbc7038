/* SPDX-License-Identifier: Apache-2.0
 *
 * The SPANK symbols and nothing else: each calls one file. Every hook answers exactly 0 or -1: Slurm
 * before 25.05 takes a positive value for a warning and runs the task without its container.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include <slurm/spank.h>

#include "clean.h"
#include "slurmd.h"
#include "srun.h"
#include "stepd.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT const char plugin_name[] = "berth";
EXPORT const char plugin_type[] = "spank";
EXPORT const unsigned int spank_plugin_version = 1;
/* Slurm compares it with its own after dlopen; 0 (an unknown release) is refused cleanly. */
EXPORT unsigned int plugin_version = 0;

/* API_CURRENT in each release's META, and the number that release gives its plugins. */
static const struct {
  long api;
  unsigned int version;
} releases[] = {
    {38, 0x160500}, {39, 0x170200}, {40, 0x170b00}, {41, 0x180500},
    {42, 0x180b00}, {43, 0x190500}, {44, 0x190b00}, {45, 0x1a0500},
};

/* One file for all releases: the SPANK interface itself has not changed between them. */
__attribute__((constructor)) static void choose_version(void) {
  void *symbol = dlsym(RTLD_DEFAULT, "slurm_api_version");
  long (*api_version)(void) = NULL;

  if (!symbol)
    return;
  memcpy(&api_version, &symbol, sizeof(api_version));
  for (size_t i = 0; i < ARRAY_SIZE(releases); i++)
    if (releases[i].api == api_version() >> 16)
      plugin_version = releases[i].version;
}

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
  if (is_submit())
    return strict(srun_check(spank));
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
  return strict(stepd_prepare(spank));
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

EXPORT int slurm_spank_job_prolog(spank_t spank, int count, char *arguments[]) {
  return strict(slurmd_prolog(spank, count, arguments));
}
