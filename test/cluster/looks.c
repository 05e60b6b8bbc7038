// SPDX-License-Identifier: Apache-2.0
/* Tells of each device whether it may be opened, and of each library which file the loader takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

/* No driver answers for a stand-in: ENXIO comes after the cgroup's leave, EPERM in its place. */
static const char *opens(const char *path) {
  if (open(path, O_RDWR | O_CLOEXEC) >= 0)
    return "opened";
  return errno == ENXIO ? "given" : errno == EPERM ? "denied" : strerror(errno);
}

static const char *loads(const char *name) {
  void *library = dlopen(name, RTLD_NOW);
  struct link_map *map;
  return library != NULL && dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : "not found";
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    printf("%s %s\n", argv[i], argv[i][0] == '/' ? opens(argv[i]) : loads(argv[i]));
  return 0;
}
