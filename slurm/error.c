/* SPDX-License-Identifier: Apache-2.0 */
#include "error.h"

#include <string.h>

#include "protocol.h"
#include "text.h"

bool error_is_set(const struct error *error) { return error->code[0] != '\0'; }

int error_set_parts(struct error *error, const char *code, const char *hint, va_list parts) {
  if (error_is_set(error))
    return -1;

  (void)text_join(error->code, sizeof(error->code), code, NULL);
  (void)text_join(error->hint, sizeof(error->hint), hint, NULL);
  error->text[0] = '\0';
  for (const char *part = va_arg(parts, const char *); part; part = va_arg(parts, const char *)) {
    const size_t at = strlen(error->text);
    (void)text_join(error->text + at, sizeof(error->text) - at, part, NULL);
  }
  error->exit = BERTH_EXIT_FAILED;
  return -1;
}

int error_set(struct error *error, const char *code, const char *hint, ...) {
  va_list parts;

  va_start(parts, hint);
  (void)error_set_parts(error, code, hint, parts);
  va_end(parts);
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
