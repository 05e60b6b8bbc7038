/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives slurm/options.c: the environment is this process's own, each argument NAME=VALUE a flag in the order
 * given; after the argument --no-memory none is left for a copy. Prints the options in the order of the
 * table, then whether a container is wanted. Linked with --wrap=strdup.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../../slurm/options.h"

extern char **environ;

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool no_memory;

char *__wrap_strdup(const char *text) { return no_memory ? NULL : __real_strdup(text); }

int main(int argc, char **argv) {
  struct options options = {0};
  cleanup_frame_out struct frame_out frame = {0};

  for (int i = 1; i < argc; i++) {
    no_memory = no_memory || strcmp(argv[i], "--no-memory") == 0;
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
