/* SPDX-License-Identifier: Apache-2.0 */
#include "fail.h"

#include <string.h>

#include "text.h"

/* As for BERTH_EVERSION of src/report/site_errors.ts. */
#define HINT_VERSION                                                                                         \
  "run the step again; if it says the same, root ends the worker of this node (its pid is in worker.pid of " \
  "berth's runtime_dir): running steps go on, and the next one starts a new worker"

/* As for BERTH_ESTRANGER of src/report/site_errors.ts. */
#define HINT_STRANGER                                                                                        \
  "tell the operators of this node: runtime_dir= in plugstack.conf must name a directory that root made"

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
  error_set(error, "BERTH_EVERSION", HINT_VERSION,
            "berth was replaced on this node, and its worker speaks another protocol", NULL);
}

int fail_stranger(struct error *error, const char *socket, uid_t owner) {
  char number[NUMBER_TEXT_MAX];

  return error_set(error, "BERTH_ESTRANGER", HINT_STRANGER, "whoever listens at ", socket, " is user ",
                   text_number(number, owner), ", neither root nor you: it was not asked for a container",
                   NULL);
}
