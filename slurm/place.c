/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

bool place_find(struct place *place) {
  char plugin[PATH_MAX];
  Dl_info info;

  /* The real path: PluginDir may hold a symlink to the installation. */
  if (dladdr((const void *)(size_t)place_find, &info) == 0 || !info.dli_fname ||
      !realpath(info.dli_fname, plugin))
    return false;
  *strrchr(plugin, '/') = '\0';
  return text_join(place->launcher, PATH_MAX, plugin, "/", LAUNCHER_NAME, NULL) &&
         text_join(place->keeper, PATH_MAX, plugin, "/berth-keeper", NULL) &&
         text_join(place->node, PATH_MAX, plugin, "/node", NULL) &&
         text_join(place->cli, PATH_MAX, plugin, "/bin/berth.js", NULL);
}
