/* SPDX-License-Identifier: Apache-2.0 */
#include "flags.h"

#include <ctype.h>
#include <string.h>

#include "text.h"

/* One row per flag. Grammar and defaults are TypeScript's (src/request); the shim only carries values. */
const struct flag flags[FLAG_COUNT] = {
    {.name = "container-image",
     .argument = "[REGISTRY/]NAME[:TAG]|PATH",
     .help = "the image each task runs in; none: no container",
     .pyxis = true,
     .selects = true},
    {.name = "container-engine",
     .argument = "ENGINE",
     .help = "what runs the container: native (default), podman, apptainer, ..."},
    {.name = "container-engine-args", .argument = "ARGS", .help = "more arguments for the container engine"},
    {.name = "container-profile",
     .argument = "NAME[,NAME]",
     .kind = FLAG_LIST,
     .help = "the site's named sets of options"},
    {.name = "container-mounts",
     .argument = "SRC:DST[:FLAGS][,...]",
     .kind = FLAG_LIST,
     .help = "host directories and files to see inside; FLAGS joined by +, e.g. ro",
     .pyxis = true},
    {.name = "container-mount-home",
     .kind = FLAG_BOOL,
     .opposite = "no-container-mount-home",
     .help = "see the home directory inside",
     .pyxis = true},
    {.name = "no-container-mount-home",
     .kind = FLAG_BOOL,
     .help = "do not see the home directory inside",
     .opposite = "container-mount-home"},
    {.name = "container-mount-cwd",
     .kind = FLAG_BOOL,
     .opposite = "no-container-mount-cwd",
     .help = "see the working directory of the step inside, and start there"},
    {.name = "no-container-mount-cwd",
     .kind = FLAG_BOOL,
     .help = "do not see the working directory of the step inside",
     .opposite = "container-mount-cwd"},
    {.name = "container-workdir",
     .argument = "PATH",
     .help = "working directory inside, instead of the image's own",
     .pyxis = true},
    {.name = "container-env",
     .argument = "NAME[,NAME]",
     .kind = FLAG_LIST,
     .help = "variables whose value here wins over the image's",
     .pyxis = true},
    {.name = "container-name",
     .argument = "NAME[:FLAG]",
     .help = "keep or reuse the container's file system under this name",
     .pyxis = true,
     .selects = true},
    {.name = "container-save",
     .argument = "PATH",
     .help = "write the container's file system to a squashfs image at the end",
     .pyxis = true},
    /* Before readonly: pyxis looks at its variable first. */
    {.name = "container-writable",
     .argument = "[SIZE]",
     .kind = FLAG_BOOL,
     .valued = true,
     .help = "the container's file system can be changed",
     .pyxis = true,
     .opposite = "container-readonly"},
    {.name = "container-readonly",
     .kind = FLAG_BOOL,
     .help = "the container's file system cannot be changed",
     .pyxis = true,
     .opposite = "container-writable"},
    {.name = "container-remap-root",
     .kind = FLAG_BOOL,
     .opposite = "no-container-remap-root",
     .help = "be root inside, without any of root's rights on the node",
     .pyxis = true},
    {.name = "no-container-remap-root",
     .kind = FLAG_BOOL,
     .help = "be oneself inside",
     .opposite = "container-remap-root"},
    {.name = "container-entrypoint",
     .kind = FLAG_BOOL,
     .opposite = "no-container-entrypoint",
     .help = "run the image's entrypoint before the command",
     .pyxis = true},
    {.name = "no-container-entrypoint",
     .kind = FLAG_BOOL,
     .help = "do not run the image's entrypoint",
     .opposite = "container-entrypoint"},
    {.name = "container-entrypoint-log",
     .kind = FLAG_BOOL,
     .help = "show what the entrypoint prints",
     .pyxis = true},
    {.name = "container-unshare",
     .argument = "net,ipc,uts",
     .kind = FLAG_LIST,
     .help = "namespaces of the container's own",
     .pyxis = true},
    {.name = "container-shm-size",
     .argument = "SIZE",
     .help = "a /dev/shm of the container's own, of this size"},
    {.name = "container-scope", .argument = "job|global", .help = "how long a named container lives"},
    {.name = "container-mpi", .argument = "MODE", .help = "how the host's MPI is made visible inside"},
    {.name = "container-device",
     .argument = "VENDOR/CLASS=NAME[,...]",
     .kind = FLAG_LIST,
     .help = "CDI devices to see inside"},
    {.name = "container-explain", .kind = FLAG_BOOL, .help = "print what would be done and why, run nothing"},
};

_Static_assert(sizeof(flags) / sizeof(flags[0]) == FLAG_COUNT, "FLAG_COUNT");

void flag_variable(const struct flag *flag, const char *prefix, char buffer[FLAG_VARIABLE_MAX]) {
  (void)text_join(buffer, FLAG_VARIABLE_MAX, prefix, flag->name, NULL);
  for (char *at = buffer + strlen(prefix); *at; at++)
    *at = (char)(*at == '-' ? '_' : toupper((unsigned char)*at));
}

void flag_spank_variable(const struct flag *flag, const char *prefix, char buffer[FLAG_VARIABLE_MAX]) {
  (void)text_join(buffer, FLAG_VARIABLE_MAX, prefix, "_SLURM_SPANK_OPTION_berth_", flag->name, NULL);
  for (char *at = buffer; *at; at++)
    if (*at == '-')
      *at = '_';
}

const struct flag *flag_opposite(const struct flag *flag) {
  for (size_t i = 0; flag->opposite && i < FLAG_COUNT; i++)
    if (strcmp(flags[i].name, flag->opposite) == 0)
      return &flags[i];
  return NULL;
}
