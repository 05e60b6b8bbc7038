/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives slurm/settings.c: each argument is a word of berth's line in plugstack.conf. Prints what is wrong
 * with it, or what it says.
 */
#include <stdio.h>
#include <unistd.h>

#include "../../../slurm/settings.h"

int main(int argc, char **argv) {
  struct settings settings;
  struct error error = {0};

  settings_read(&settings, argc - 1, argv + 1, &error);
  if (error_is_set(&error)) {
    error_print(&error, STDOUT_FILENO);
    return 1;
  }
  printf("%s %s %s %d %zu\n", settings.runtime_dir, settings.store ? settings.store : "-",
         settings.node ? settings.node : "-", settings.sbatch, settings.more_count);
  return 0;
}
