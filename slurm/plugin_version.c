/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin_version.h"

#include <dlfcn.h>
#include <string.h>

#include "clean.h"

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
