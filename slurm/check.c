/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "clean.h"
#include "fail.h"
#include "login.h"
#include "text.h"

/* Time for a worker that is just being started. */
#define ACK_MS_MAX 3000
/* The worker gives a registry 8 s (PIN_WAIT_MS_MAX in src/worker/limits.ts); one more for the way. */
#define PIN_MS_MAX 9000
/* Starting node on a loaded login node. */
#define COMMAND_MS_MAX 10000
/* `berth check` exits so for what the user can mend; anything else is left to the node. */
#define STATUS_REFUSED 1
/* node, script, check, --context, end. */
#define COMMAND_WORDS_OWN 5

extern char **environ;

static bool build(struct frame_out *frame, const char *context, const struct options *options,
                  char *const *environment) {
  cleanup_free char *cwd = getcwd(NULL, 0);

  frame_start(frame, BERTH_CHECK);
  frame_add_text(frame, BERTH_TAG_CONTEXT, context);
  options_add_to(options, frame);
  frame_add_text(frame, BERTH_TAG_CWD, cwd ? cwd : "/");
  if (environment)
    frame_add_environment(frame, environment);
  return frame_finish(frame);
}

/* 1 for an answer, 0 for none in time, -1 for FAIL. */
static int receive(struct check *check, struct frame_in *answer, long long deadline, struct error *error) {
  for (;;) {
    long long left = deadline - wire_now();
    if (wire_receive(check->connection, answer, left > 0 ? (int)left : 0) != 1)
      return 0;
    if (answer->type != BERTH_LOGIN)
      break;
    left = deadline - wire_now();
    if (login_answer(check->connection, answer, left > 0 ? (int)left : 0) < 0)
      return 0;
  }
  if (answer->type != BERTH_FAIL)
    return 1;
  fail_take(answer, error);
  return -1;
}

int check_start(struct check *check, const struct settings *settings, const char *context,
                const struct options *options, struct error *error) {
  cleanup_frame_out struct frame_out frame = {0};
  cleanup_frame_in struct frame_in answer = {0};
  struct error unheard = {0};

  check_close(check);
  check->connection = client_find(settings, error);
  if (check->connection < 0)
    return error_is_set(error) ? -1 : 0;
  check->deadline = wire_now() + PIN_MS_MAX;
  /* An environment too large for one frame is the node's to refuse. */
  const bool built = build(&frame, context, options, environ) || build(&frame, context, options, NULL);
  if (!built || client_send(check->connection, &frame, NULL, 0, &unheard) < 0) {
    check_close(check);
    return 0;
  }
  const int got = receive(check, &answer, wire_now() + ACK_MS_MAX, error);
  if (got != 1 || answer.type != BERTH_ACK)
    check_close(check);
  return got < 0 ? -1 : 0;
}

static void take_pin(const struct frame_in *answer, struct options *options) {
  struct field field;
  size_t at = 0;

  while (frame_next(answer, &at, &field)) {
    cleanup_free char *pair = field.tag == BERTH_TAG_OPTION ? field_text(&field) : NULL;
    char *equals = pair ? strchr(pair, '=') : NULL;
    if (!equals)
      continue;
    const size_t flag = options_find(pair, (size_t)(equals - pair));
    /* It replaces what was said, whoever said it. */
    if (flag < FLAG_COUNT && options->values[flag].source != SOURCE_NONE) {
      const enum source source = options->values[flag].source;
      options->values[flag].source = SOURCE_NONE;
      options_take(options, flag, equals + 1, source);
    }
  }
}

int check_finish(struct check *check, struct options *options, struct error *error) {
  cleanup_frame_in struct frame_in answer = {0};

  if (check->connection < 0)
    return 0;
  const int got = receive(check, &answer, check->deadline, error);
  if (got == 1 && answer.type == BERTH_PIN)
    take_pin(&answer, options);
  check_close(check);
  return got < 0 ? -1 : 0;
}

int check_by_command(const struct settings *settings, const struct place *place, const char *context,
                     const struct options *options) {
  const char *node = settings->node ? settings->node : place->node;
  const char *argv[COMMAND_WORDS_OWN + FLAG_COUNT] = {node, place->cli, "check"};
  char *own[1 + FLAG_COUNT] = {NULL};
  size_t count = 0;
  bool complete = true;

  if (access(node, X_OK) < 0 || access(place->cli, R_OK) < 0)
    return 0;
  own[count++] = text_new("--context=", context, NULL);
  for (size_t i = 0; i < FLAG_COUNT; i++)
    if (options->values[i].source != SOURCE_NONE && !options_yields(options, i))
      own[count++] = text_new("--option=", flags[i].name, "=", options->values[i].value, NULL);
  for (size_t i = 0; i < count; i++) {
    argv[3 + i] = own[i];
    complete = complete && own[i];
  }
  const int status = complete ? child_run(argv, environ, COMMAND_MS_MAX) : CHILD_NOT_RUN;
  for (size_t i = 0; i < count; i++)
    free(own[i]);
  return status == STATUS_REFUSED ? -1 : 0;
}

void check_close(struct check *check) {
  clean_close(&check->connection);
  check->connection = -1;
}
