/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <string.h>

#include "clean.h"
#include "flags.h"
#include "hints.h"
#include "text.h"

/* The words of the worker's own settings (src/site/values.ts), for no and for yes. */
static const char *const words[][4] = {{"0", "no", "n", "false"}, {"1", "yes", "y", "true"}};

static bool says(bool yes, const char *value) {
  for (size_t i = 0; i < ARRAY_SIZE(words[yes]); i++)
    if (strcmp(value, words[yes][i]) == 0)
      return true;
  return false;
}

static bool take_yes(const char *argument, const char *value, struct error *error) {
  if (!says(true, value) && !says(false, value))
    error_set(error, "BERTH_EPLUGSTACK", HINT_EPLUGSTACK, argument, ": write yes or no", NULL);
  return says(true, value);
}

static const char *take_path(const char *argument, const char *value, struct error *error) {
  if (value[0] != '/')
    error_set(error, "BERTH_EPLUGSTACK", HINT_EPLUGSTACK, argument, " is no absolute path", NULL);
  return value;
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
  else if (!says(false, value))
    error_set(error, "BERTH_EPLUGSTACK", HINT_EPLUGSTACK, "shifter_flags=", value,
              ": write short, long or no", NULL);
}

static bool take_known(struct settings *settings, const char *argument, struct error *error) {
  const char *value;

  if ((value = value_of(argument, "runtime_dir")))
    settings->runtime_dir = take_path(argument, value, error);
  else if ((value = value_of(argument, "store")))
    settings->store = take_path(argument, value, error);
  else if ((value = value_of(argument, "config")))
    settings->config = take_path(argument, value, error);
  else if ((value = value_of(argument, "node")))
    settings->node = value[0] ? take_path(argument, value, error) : NULL;
  else if ((value = value_of(argument, "sbatch")) || (value = value_of(argument, "sbatch_support")))
    settings->sbatch = take_yes(argument, value, error);
  else if ((value = value_of(argument, "shifter_flags")))
    take_shifter(settings, value, error);
  else if ((value = value_of(argument, "gsi_flags")))
    settings->groups |= take_yes(argument, value, error) ? FLAG_GSI : 0;
  else
    return false;
  return true;
}

void settings_read(struct settings *settings, int count, char *const *arguments, struct error *error) {
  *settings = (struct settings){
      .runtime_dir = RUNTIME_DIR_DEFAULT,
      .config = "/etc/berth/berth.conf",
      .sbatch = true,
  };
  for (int i = 0; i < count; i++) {
    if (take_known(settings, arguments[i], error))
      continue;
    if (!strchr(arguments[i], '='))
      error_set(error, "BERTH_EPLUGSTACK", HINT_EPLUGSTACK, arguments[i], " has no value: write ",
                arguments[i], "=VALUE", NULL);
    else if (settings->more_count < SETTINGS_MORE_MAX)
      settings->more[settings->more_count++] = arguments[i];
    else
      error_set(error, "BERTH_EPLUGSTACK", HINT_EPLUGSTACK, "too many arguments for berth in plugstack.conf",
                NULL);
  }
}
