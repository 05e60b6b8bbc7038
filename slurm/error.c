/* SPDX-License-Identifier: Apache-2.0 */
#include "error.h"

#include <stdarg.h>
#include <string.h>

#include "protocol.h"
#include "text.h"

bool error_is_set(const struct error *error) { return error->code[0] != '\0'; }

int error_set(struct error *error, const char *code, const char *hint, ...) {
  if (error_is_set(error))
    return -1;

  va_list parts;
  (void)text_join(error->code, sizeof(error->code), code, NULL);
  (void)text_join(error->hint, sizeof(error->hint), hint, NULL);
  error->text[0] = '\0';
  va_start(parts, hint);
  for (const char *part = va_arg(parts, const char *); part; part = va_arg(parts, const char *)) {
    const size_t at = strlen(error->text);
    (void)text_join(error->text + at, sizeof(error->text) - at, part, NULL);
  }
  va_end(parts);
  error->exit = BERTH_EXIT_FAILED;
  return -1;
}

void error_print(const struct error *error, int fd) {
  char lines[2 * ERROR_TEXT_MAX + 128];
  const bool hinted = error->hint[0] != '\0';

  if (error->text[0] == '\0')
    return;
  (void)text_join(lines, sizeof(lines), "berth: error[", error->code, "]: ", error->text, "\n",
                  hinted ? "hint: " : "", error->hint, hinted ? "\n" : "", NULL);
  /* One write: lines of several tasks must not mix. */
  text_write(fd, lines, strlen(lines));
}
