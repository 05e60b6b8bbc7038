/* SPDX-License-Identifier: Apache-2.0 */
#include "login.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "clean.h"

/* node, script, host, repository, user, end. */
#define WORDS_MAX 6
/* LOGIN_BYTES_MAX of src/worker/limits.ts, the terminator, and one byte to see that it was passed. */
#define ANSWER_BYTES_MAX ((128u << 10) + 2)
#define SEND_MS_MAX 5000

extern char **environ;

/* False when a word is missing, or there are too many. */
static bool take_words(const struct frame_in *question, char *words[WORDS_MAX]) {
  const enum berth_tag order[] = {BERTH_TAG_ARGV, BERTH_TAG_ARG};
  size_t count = 0;

  for (size_t i = 0; i < 2; i++) {
    struct field field;
    size_t at = 0;
    while (frame_next(question, &at, &field)) {
      if (field.tag != order[i])
        continue;
      if (count + 1 == WORDS_MAX || !(words[count] = field_text(&field)))
        return false;
      count++;
    }
  }
  return count > 1 && words[0][0] == '/';
}

int login_answer(int connection, const struct frame_in *question, int wait_ms) {
  cleanup_frame_out struct frame_out frame = {0};
  char *words[WORDS_MAX] = {NULL};
  char *answer = malloc(ANSWER_BYTES_MAX);

  frame_start(&frame, BERTH_TOLD);
  if (answer && take_words(question, words) &&
      child_read((const char *const *)words, environ, wait_ms, answer, ANSWER_BYTES_MAX) == 0)
    frame_add_text(&frame, BERTH_TAG_DATA, answer);
  for (size_t i = 0; i < WORDS_MAX; i++)
    free(words[i]);
  int result = -1;
  if (frame_finish(&frame))
    result = wire_send(connection, &frame, NULL, 0, SEND_MS_MAX);
  /* The password is not for a core file. */
  if (answer)
    explicit_bzero(answer, ANSWER_BYTES_MAX);
  if (frame.bytes)
    explicit_bzero(frame.bytes, frame.size);
  free(answer);
  return result;
}
