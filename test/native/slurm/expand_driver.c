/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives slurm/expand.c: prints the first argument, a value of --container-mounts, with this process's own
 * environment in it. Each value is in memory of just its size, so that the sanitizers see a byte too many.
 */
#include <stdio.h>

#include "../../../slurm/expand.h"

extern char **environ;

int main(int argc, char **argv) {
  const size_t mounts = options_find("container-mounts", sizeof("container-mounts") - 1);
  struct options options = {0};

  if (argc != 2)
    return 2;
  options_take(&options, mounts, argv[1], SOURCE_FLAG);
  expand_variables(&options, mounts, environ);
  puts(options.values[mounts].value);
  options_free(&options);
  return 0;
}
