/* SPDX-License-Identifier: Apache-2.0 */
#include "fail.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "hints.h"
#include "text.h"

/* Behind "tell the operators of node N", for who cannot read what is root's. */
#define HINT_NODE ": `berth doctor` and the worker's log there say why"
#define HINT_INTERNAL ", who report it with the worker's log"

static void copy_text(const struct frame_in *frame, enum berth_tag tag, char *buffer, size_t size) {
  struct field field;

  buffer[0] = '\0';
  if (!frame_find(frame, tag, &field))
    return;
  const size_t length = field.length < size ? field.length : size - 1;
  memcpy(buffer, field.bytes, length);
  buffer[length] = '\0';
}

void fail_take(const struct frame_in *frame, struct error *error) {
  uint32_t exit_code = BERTH_EXIT_FAILED;

  if (error_is_set(error))
    return;
  (void)frame_word(frame, BERTH_TAG_EXIT, &exit_code);
  copy_text(frame, BERTH_TAG_CODE, error->code, sizeof(error->code));
  copy_text(frame, BERTH_TAG_TEXT, error->text, sizeof(error->text));
  copy_text(frame, BERTH_TAG_HINT, error->hint, sizeof(error->hint));
  if (error->code[0] == '\0')
    (void)text_join(error->code, sizeof(error->code), "BERTH_EINTERNAL", NULL);
  /* 0 would turn a refusal into success. */
  error->exit = exit_code > 0 && exit_code < 256 ? (int)exit_code : BERTH_EXIT_FAILED;
}

void fail_version(struct error *error) {
  error_set(error, "BERTH_EVERSION", HINT_EVERSION,
            "berth was replaced on this node, and its worker speaks another protocol", NULL);
}

int fail_protocol(struct error *error, const char *what) {
  return error_set(error, "BERTH_EPROTOCOL", HINT_EPROTOCOL, "the worker's answer cannot be used: ", what,
                   NULL);
}

/* By Slurm's name, where it is told: several nodes may share a host. */
static const char *operators(char hint[ERROR_TEXT_MAX], const char *what) {
  const char *node = getenv("SLURMD_NODENAME");
  struct utsname host;

  if (!node)
    node = uname(&host) == 0 ? host.nodename : "";
  (void)text_join(hint, ERROR_TEXT_MAX, "tell the operators of node ", node, what, NULL);
  return hint;
}

int fail_node(struct error *error, const char *code, ...) {
  char hint[ERROR_TEXT_MAX];
  va_list parts;

  va_start(parts, code);
  (void)error_set_parts(error, code, operators(hint, HINT_NODE), parts);
  va_end(parts);
  return -1;
}

int fail_internal(struct error *error, ...) {
  char hint[ERROR_TEXT_MAX];
  va_list parts;

  va_start(parts, error);
  (void)error_set_parts(error, "BERTH_EINTERNAL", operators(hint, HINT_INTERNAL), parts);
  va_end(parts);
  return -1;
}

int fail_stranger(struct error *error, const char *socket, uid_t owner) {
  char number[NUMBER_TEXT_MAX];

  return error_set(error, "BERTH_ESTRANGER", HINT_ESTRANGER, "whoever listens at ", socket, " is user ",
                   text_number(number, owner), ", neither root nor you: it was not asked for a container",
                   NULL);
}
