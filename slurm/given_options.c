/* SPDX-License-Identifier: Apache-2.0 */
#include "given_options.h"

#include "clean.h"
#include "text.h"

/* Longest help text, with the tag that tells whose option it is in `srun --help`. */
#define USAGE_MAX 256

/* As for getopt_long. */
enum { NO_ARGUMENT, ARGUMENT, OPTIONAL_ARGUMENT };

static struct options given;

/* Slurm calls it twice for one value in several versions (list and environment), so it never complains. */
static int take(int flag, const char *argument, int remote) {
  if (flag >= 0 && flag < FLAG_COUNT)
    options_take(&given, (size_t)flag, argument, remote ? SOURCE_SPANK : SOURCE_FLAG);
  return 0;
}

void given_register_flags(spank_t spank, unsigned int groups) {
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!flag_is_known(&flags[i], groups))
      continue;
    char usage[USAGE_MAX];
    (void)text_join(usage, sizeof(usage), "[berth] ", flags[i].help, NULL);
    struct spank_option option = {
        .name = (char *)flags[i].name,
        .arginfo = (char *)flags[i].argument,
        .usage = usage,
        .has_arg = flags[i].kind != FLAG_BOOL ? ARGUMENT
                   : flags[i].valued          ? OPTIONAL_ARGUMENT
                                              : NO_ARGUMENT,
        .val = (int)i,
        .cb = take,
    };
    (void)spank_option_register(spank, &option);
  }
}

const struct options *given_options(void) { return &given; }

void given_reset(void) { options_free(&given); }
