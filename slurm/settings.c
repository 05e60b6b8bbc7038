/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <string.h>

#include "clean.h"
#include "flags.h"
#include "text.h"

static bool is_no(const char *value) {
  static const char *const words[] = {"0", "no", "n", "false"};

  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strcmp(value, words[i]) == 0)
      return true;
  return false;
}

static const char *value_of(const char *argument, const char *key) {
  const size_t length = strlen(key);
  return strncmp(argument, key, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

/* short: --image, long: --shifter.image. */
static void take_shifter(struct settings *settings, const char *value, struct error *error) {
  if (strcmp(value, "short") == 0)
    settings->groups |= FLAG_SHIFTER_SHORT;
  else if (strcmp(value, "long") == 0)
    settings->groups |= FLAG_SHIFTER_LONG;
  else if (!is_no(value))
    error_set(error, "BERTH_EPLUGSTACK", "write short, long or no in plugstack.conf", "shifter_flags=", value,
              " is not known", NULL);
}

static bool take_known(struct settings *settings, const char *argument, struct error *error) {
  const char *value;

  if ((value = value_of(argument, "runtime_dir")))
    settings->runtime_dir = value;
  else if ((value = value_of(argument, "store")))
    settings->store = value;
  else if ((value = value_of(argument, "config")))
    settings->config = value;
  else if ((value = value_of(argument, "node")))
    settings->node = value;
  else if ((value = value_of(argument, "sbatch")) || (value = value_of(argument, "sbatch_support")))
    settings->sbatch = !is_no(value);
  else if ((value = value_of(argument, "shifter_flags")))
    take_shifter(settings, value, error);
  else if ((value = value_of(argument, "gsi_flags")))
    settings->groups |= is_no(value) ? 0 : FLAG_GSI;
  else
    return false;
  return true;
}

void settings_read(struct settings *settings, int count, char *const *arguments, struct error *error) {
  *settings = (struct settings){
      .runtime_dir = "/run/berth",
      .store = "/var/lib/berth",
      .config = "/etc/berth/berth.conf",
      .sbatch = true,
  };
  for (int i = 0; i < count; i++) {
    if (take_known(settings, arguments[i], error))
      continue;
    if (settings->more_count < SETTINGS_MORE_MAX)
      settings->more[settings->more_count++] = arguments[i];
    else
      error_set(error, "BERTH_EPLUGSTACK", "shorten berth's line in plugstack.conf",
                "too many arguments for berth in plugstack.conf", NULL);
  }
  if (settings->runtime_dir[0] != '/')
    error_set(error, "BERTH_EPLUGSTACK", "give an absolute path in plugstack.conf",
              "runtime_dir=", settings->runtime_dir, " is no absolute path", NULL);
}
