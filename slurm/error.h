/* SPDX-License-Identifier: Apache-2.0
 *
 * One slot per failure: filled by the function that knows, printed once by the one that speaks to the user.
 * It survives the phase that made it, because most SPANK hooks may not report anything (a failing init drains
 * the node).
 */
#ifndef BERTH_ERROR_H
#define BERTH_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

/* A path (PATH_MAX) and the words around it. */
#define ERROR_TEXT_MAX 4608
#define ERROR_CODE_MAX 48

struct error {
  /** A row of src/report/errors.ts; empty: nothing failed. */
  char code[ERROR_CODE_MAX];
  /** What failed on which object; empty: another task of the node has said it already. */
  char text[ERROR_TEXT_MAX];
  /** What to do next; may be empty. */
  char hint[ERROR_TEXT_MAX];
  /** Exit code of the launcher. */
  int exit;
};

bool error_is_set(const struct error *error);
/** Records a failure, text from the parts up to NULL; the first one stays. Returns -1 for `return
 * error_set(…)`. */
int error_set(struct error *error, const char *code, const char *hint, ...) __attribute__((sentinel));
/** The same with the parts as a list, which the caller ends. */
int error_set_parts(struct error *error, const char *code, const char *hint, va_list parts);
/** Writes `berth: error[CODE]: text` and `hint: …` to fd in one write, or nothing when the text is empty. */
void error_print(const struct error *error, int fd);

#endif
