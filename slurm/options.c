/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "fail.h"
#include "text.h"

#define NO_CONTAINER "none"

void options_take(struct options *options, size_t flag, const char *value, enum source source) {
  if (flag >= FLAG_COUNT || source < options->values[flag].source)
    return;
  /* Slurm hands a yes/no flag over as NULL, "" or "(null)", depending on version and context. */
  const bool bare = !value || value[0] == '\0' || strcmp(value, "(null)") == 0;
  const char *given = flags[flag].kind == FLAG_BOOL && bare ? "1" : value ? value : "";
  char **slot = &options->values[flag].value;
  const bool adds =
      flags[flag].kind == FLAG_LIST && source == SOURCE_FLAG && options->values[flag].source == source;
  char *taken = adds ? text_new(*slot, ",", given, NULL) : strdup(given);

  if (!taken) {
    options->failed = true;
    return;
  }
  free(*slot);
  *slot = taken;
  options->values[flag].source = source;
}

void options_take_all(struct options *options, const struct options *from, enum source source) {
  for (size_t i = 0; i < FLAG_COUNT; i++)
    if (from->values[i].source != SOURCE_NONE)
      options_take(options, i, from->values[i].value,
                   source != SOURCE_NONE ? source : from->values[i].source);
  options->failed = options->failed || from->failed;
}

void options_take_environment(struct options *options, char *const *environment, unsigned int groups) {
  char name[FLAG_VARIABLE_MAX];
  const char *value;

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    flag_variable(&flags[i], "SLURM_BERTH_", name);
    if ((value = text_variable(environment, name)))
      options_take(options, i, value, SOURCE_INHERITED);
    if (flags[i].variable && flag_is_known(&flags[i], groups) &&
        (value = text_variable(environment, flags[i].variable)))
      options_take(options, i, value, SOURCE_PYXIS);
    if (flags[i].group != FLAG_OURS)
      continue;
    flag_variable(&flags[i], "BERTH_", name);
    if ((value = text_variable(environment, name)))
      options_take(options, i, value, SOURCE_BERTH);
    flag_variable(&flags[i], "PYXIS_", name);
    if (flags[i].pyxis && (value = text_variable(environment, name)))
      options_take(options, i, value, SOURCE_PYXIS);
  }
}

void options_take_spank(struct options *options, char *const *environment, const char *prefix) {
  char name[FLAG_VARIABLE_MAX];

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    flag_spank_variable(&flags[i], prefix, FLAG_PLUGIN, name);
    const char *value = text_variable(environment, name);
    if (value)
      options_take(options, i, value, SOURCE_SPANK);
    if (options->values[i].source >= SOURCE_SPANK || flags[i].group != FLAG_OURS)
      continue;
    /* Of a job that was submitted before the site went over: it must not run on the host. */
    flag_spank_variable(&flags[i], prefix, FLAG_PLUGIN_BEFORE, name);
    if ((value = text_variable(environment, name)))
      options_take(options, i, value, SOURCE_SPANK);
  }
}

void options_drop(struct options *options, size_t flag) {
  free(options->values[flag].value);
  options->values[flag].value = NULL;
  options->values[flag].source = SOURCE_NONE;
}

/* --image and --container-image are two words for one question: the stronger source answers it. */
static void settle_words(struct options *options) {
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!flags[i].instead_of)
      continue;
    const size_t other = options_find(flags[i].instead_of, strlen(flags[i].instead_of));
    const enum source mine = options->values[i].source, theirs = options->values[other].source;
    if (mine != SOURCE_NONE && theirs != SOURCE_NONE && mine != theirs)
      options_drop(options, mine < theirs ? i : other);
  }
}

void options_settle(struct options *options) {
  settle_words(options);
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    const struct flag *opposite = flag_opposite(&flags[i]);
    if (!opposite || options->values[i].source == SOURCE_NONE)
      continue;
    const size_t other = (size_t)(opposite - flags);
    const enum source mine = options->values[i].source, theirs = options->values[other].source;
    /* Both from pyxis' variables: it looks at the writable one first (config.c of pyxis 0.24). */
    if (theirs > mine || (theirs == SOURCE_PYXIS && mine == SOURCE_PYXIS && other < i))
      options_drop(options, i);
  }
}

const char *options_value(const struct options *options, const char *name) {
  const size_t flag = options_find(name, strlen(name));
  return flag < FLAG_COUNT ? options->values[flag].value : NULL;
}

/* container-image, and other products' words for it. */
static bool names_image(const struct flag *flag) {
  return strcmp(flag->instead_of ? flag->instead_of : flag->name, "container-image") == 0;
}

static bool is_undone(const struct options *options, size_t flag) {
  return options->values[flag].source != SOURCE_NONE &&
         strcmp(options->values[flag].value, NO_CONTAINER) == 0;
}

/* "none" in one word and an image in another, equally strong, is for the worker to refuse. */
static bool is_image_undone(const struct options *options) {
  bool undone = false;

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!names_image(&flags[i]) || options->values[i].source == SOURCE_NONE)
      continue;
    if (!is_undone(options, i))
      return false;
    undone = true;
  }
  return undone;
}

bool options_want_container(const struct options *options) {
  if (options->failed)
    return true;
  if (is_image_undone(options))
    return false;

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!flags[i].selects || options->values[i].source == SOURCE_NONE || is_undone(options, i))
      continue;
    /* Typed by hand, an empty name is an error and not a wish for no container. */
    if (options->values[i].value[0] != '\0' || options->values[i].source == SOURCE_FLAG ||
        options->values[i].source == SOURCE_SPANK)
      return true;
  }
  return false;
}

bool options_yields(const struct options *options, size_t flag) {
  const enum source source = options->values[flag].source;
  return (source == SOURCE_PYXIS || source == SOURCE_BERTH) && options_value(options, "edf") != NULL &&
         flag != options_find("edf", strlen("edf"));
}

bool options_equal(const struct options *left, const struct options *right) {
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    const char *one = left->values[i].value, *other = right->values[i].value;
    if ((one == NULL) != (other == NULL) || (one && strcmp(one, other) != 0))
      return false;
  }
  return true;
}

void options_add_to(const struct options *options, struct frame_out *frame) {
  frame->failed = frame->failed || options->failed;
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (options->values[i].source == SOURCE_NONE || options_yields(options, i))
      continue;
    cleanup_free char *pair = text_new(flags[i].name, "=", options->values[i].value, NULL);
    if (pair)
      frame_add_text(frame, BERTH_TAG_OPTION, pair);
    else
      frame->failed = true;
  }
}

int options_check(const struct options *options, struct error *error) {
  return options->failed ? fail_internal(error, "no memory for the options of the container", NULL) : 0;
}

void options_free(struct options *options) {
  for (size_t i = 0; i < FLAG_COUNT; i++)
    options_drop(options, i);
  options->failed = false;
}

size_t options_find(const char *name, size_t length) {
  for (size_t i = 0; i < FLAG_COUNT; i++)
    if (strlen(flags[i].name) == length && memcmp(flags[i].name, name, length) == 0)
      return i;
  return FLAG_COUNT;
}
