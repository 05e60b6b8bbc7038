/* SPDX-License-Identifier: Apache-2.0 */
#include "expand.h"

#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "text.h"

/* The grammar is that of src/request/fields.ts: a backslash takes the meaning from these, and from no other.
 */
#define ESCAPABLE ",:\"\\$"
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"
#define NAME_MAX_LENGTH 255

static bool is_escape(const char *text) {
  return text[0] == '\\' && text[1] != '\0' && strchr(ESCAPABLE, text[1]) != NULL;
}

/* At "${NAME}" or "${NAME:-text}": its value and, in *length, how much of text it replaces; or NULL. */
static const char *value_at(const char *text, char *const *environment, size_t *length) {
  char name[NAME_MAX_LENGTH + 1];

  if (!text_starts(text, "${"))
    return NULL;
  const char *const from = text + strlen("${");
  const size_t size = strspn(from, NAME_CHARACTERS);
  const char *const end = strchr(from, '}');
  if (size == 0 || size > NAME_MAX_LENGTH || !end)
    return NULL;
  if (from + size != end && !text_starts(from + size, ":-"))
    return NULL;
  memcpy(name, from, size);
  name[size] = '\0';
  const char *const value = text_variable(environment, name);
  *length = (size_t)(end + 1 - text);
  return value && value[0] != '\0' ? value : NULL;
}

/* A value is a path, or a part of one: nothing in it is read as a separator or as a variable again. */
static size_t put_escaped(char *to, const char *value) {
  size_t length = 0;

  for (; *value; value++) {
    if (strchr(ESCAPABLE, *value)) {
      if (to)
        to[length] = '\\';
      length++;
    }
    if (to)
      to[length] = *value;
    length++;
  }
  return length;
}

/* Without `to` only the length. */
static size_t expand(char *to, const char *text, char *const *environment) {
  size_t length = 0, step = 0;

  for (; *text; text += step) {
    const char *const value = value_at(text, environment, &step);
    if (value) {
      length += put_escaped(to ? to + length : NULL, value);
      continue;
    }
    step = is_escape(text) ? 2 : 1;
    if (to)
      memcpy(to + length, text, step);
    length += step;
  }
  return length;
}

void expand_variables(struct options *options, size_t flag, char *const *environment) {
  const char *const text = options->values[flag].value;

  if (!text || !strstr(text, "${"))
    return;
  const size_t length = expand(NULL, text, environment);
  char *const expanded = malloc(length + 1);
  /* Left to the node it would become what the job has, and that may be another directory. */
  if (!expanded) {
    options->failed = true;
    return;
  }
  (void)expand(expanded, text, environment);
  expanded[length] = '\0';
  free(options->values[flag].value);
  options->values[flag].value = expanded;
}
