/* SPDX-License-Identifier: Apache-2.0 */
#include "variables.h"

#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "text.h"

bool variables_copy(struct variables *variables, char *const *environment) {
  size_t count = 0;

  while (environment[count])
    count++;
  variables->list = calloc(count + 1, sizeof(*variables->list));
  if (!variables->list)
    return false;
  memcpy(variables->list, environment, count * sizeof(*variables->list));
  variables->count = count;
  variables->capacity = count + 1;
  return true;
}

static bool is_named(const char *pair, const char *name, size_t length) {
  return strncmp(pair, name, length) == 0 && pair[length] == '=';
}

static void unset(struct variables *variables, const char *name, size_t length) {
  size_t kept = 0;

  for (size_t i = 0; i < variables->count; i++)
    if (!is_named(variables->list[i], name, length))
      variables->list[kept++] = variables->list[i];
  variables->count = kept;
  variables->list[kept] = NULL;
}

void variables_unset(struct variables *variables, const char *name) { unset(variables, name, strlen(name)); }

void variables_unset_all(struct variables *variables, const char *prefix) {
  size_t kept = 0;

  for (size_t i = 0; i < variables->count; i++)
    if (!text_starts(variables->list[i], prefix))
      variables->list[kept++] = variables->list[i];
  variables->count = kept;
  variables->list[kept] = NULL;
}

bool variables_set(struct variables *variables, char *pair) {
  const char *equals = strchr(pair, '=');

  if (!equals)
    return false;
  unset(variables, pair, (size_t)(equals - pair));
  return variables_add(variables, pair);
}

bool variables_add(struct variables *variables, char *pair) {
  if (variables->count + 1 >= variables->capacity) {
    const size_t capacity = variables->capacity * 2 + 1;
    char **list = realloc(variables->list, capacity * sizeof(*list));
    if (!list)
      return false;
    variables->list = list;
    variables->capacity = capacity;
  }
  variables->list[variables->count++] = pair;
  variables->list[variables->count] = NULL;
  return true;
}

/* "K=NAME": per-task values, which the one answer for all tasks cannot carry. */
static bool copy(struct variables *variables, char *text, char *name) {
  const char *value = text_variable(variables->list, name);

  if (!value)
    return true;
  *name = '\0';
  char *pair = text_new(text, value, NULL);
  if (pair && variables_set(variables, pair))
    return true;
  free(pair);
  return false;
}

static bool edit(struct variables *variables, const struct field *field) {
  char *text = field_text(field);
  const char *equals = text ? strchr(text, '=') : NULL;
  bool done = false;

  if (text && field->tag == BERTH_TAG_ENV_UNSET) {
    variables_unset(variables, text);
    free(text);
    return true;
  }
  if (equals && field->tag == BERTH_TAG_ENV_COPY) {
    done = copy(variables, text, text + (equals - text) + 1);
    free(text);
    return done;
  }
  if (equals && field->tag == BERTH_TAG_ENV_DEFAULT) {
    for (size_t i = 0; i < variables->count && !done; i++)
      done = is_named(variables->list[i], text, (size_t)(equals - text));
  }
  if (equals && !done && variables_set(variables, text))
    return true;
  free(text);
  return done;
}

bool variables_edit(struct variables *variables, const struct frame_in *frame) {
  static const uint16_t order[] = {BERTH_TAG_ENV_UNSET, BERTH_TAG_ENV_SET, BERTH_TAG_ENV_DEFAULT,
                                   BERTH_TAG_ENV_COPY};
  struct field field;

  for (size_t i = 0; i < ARRAY_SIZE(order); i++)
    for (size_t at = 0; frame_next(frame, &at, &field);)
      if (field.tag == order[i] && !edit(variables, &field))
        return false;
  return true;
}
