/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives slurm/options.c: the environment is this process's own, each argument NAME=VALUE a flag in the order
 * given. Prints the options in the order of the table, then whether a container is wanted.
 */
#include <stdio.h>
#include <string.h>

#include "../../../slurm/options.h"

extern char **environ;

int main(int argc, char **argv) {
  struct options options = {0};
  cleanup_frame_out struct frame_out frame = {0};

  for (int i = 1; i < argc; i++) {
    const char *equals = strchr(argv[i], '=');
    const size_t length = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
    options_take(&options, options_find(argv[i], length), equals ? equals + 1 : NULL, SOURCE_FLAG);
  }
  options_take_spank(&options, environ, "SLURM_SPANK_");
  options_take_environment(&options, environ, 0);
  options_settle(&options);
  frame_start(&frame, BERTH_CHECK);
  options_add_to(&options, &frame);
  for (size_t i = 0; i < FLAG_COUNT; i++)
    if (options.values[i].source != SOURCE_NONE)
      printf("%s=%s\n", flags[i].name, options.values[i].value);
  puts(options_want_container(&options) ? "container" : "bare");
  options_free(&options);
  return frame_finish(&frame) ? 0 : 1;
}
