/* SPDX-License-Identifier: Apache-2.0 */
#include "component.h"

#include <string.h>

#include "place.h"
#include "text.h"

#define STEP "/."

unsigned int component_of(const char *path) {
  const char *at = strrchr(path, '/');
  unsigned int count = 0;

  for (; at && at - path >= 2 && memcmp(at - 2, STEP, 2) == 0; at -= 2)
    count++;
  return count;
}

bool component_path(const char *launcher, unsigned int component, char path[PATH_MAX]) {
  const char *file = strrchr(launcher, '/');
  const size_t folder = file ? (size_t)(file - launcher) : 0;
  size_t at = folder;

  if (!file || strlen(launcher) + 2 * (size_t)component >= PATH_MAX)
    return false;
  memcpy(path, launcher, folder);
  for (unsigned int i = 0; i < component; i++, at += 2)
    memcpy(path + at, STEP, 2);
  memcpy(path + at, file, strlen(file) + 1);
  return true;
}

void component_variable(unsigned int component, char name[COMPONENT_VARIABLE_MAX]) {
  char number[NUMBER_TEXT_MAX];

  (void)text_join(name, COMPONENT_VARIABLE_MAX, ARGV0_VARIABLE, component > 0 ? "_" : "",
                  component > 0 ? text_number(number, (long)component) : "", NULL);
}
