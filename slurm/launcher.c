/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-exec: stands in for the user's command until the container is there. Runs as the user; it asks the
 * worker that root announced this very process to, shows progress, joins and executes. It never runs the
 * command bare.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clean.h"
#include "component.h"
#include "error.h"
#include "fail.h"
#include "join.h"
#include "login.h"
#include "place.h"
#include "resume.h"
#include "stay.h"
#include "text.h"
#include "wire.h"
#include "witness.h"

/* A worker that died is started again by its keeper within a second; a loaded node takes a few. */
#define CONNECT_MS_MAX 10000
#define CONNECT_RETRY_MS 50
/* Broken connections in a row without a single frame: the worker crashes on this request. */
#define ATTEMPTS_MAX 5
#define SEND_MS_MAX 5000
/* The worker says something every few seconds while it works; a registry may stall it, but not for so long.
 */
#define SILENCE_MS_MAX (15 * 60 * 1000)
/* Width assumed for a terminal that tells none. */
#define COLUMNS_DEFAULT 80
#define TICKET_BYTES 16

extern char **environ;

static uint32_t terminal_columns(void) {
  struct winsize size = {0};

  if (!isatty(STDERR_FILENO))
    return 0;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
}

static int hex_digit(char digit) {
  const char *const digits = "0123456789abcdef";
  const char *found = digit ? strchr(digits, digit) : NULL;
  return found ? (int)(found - digits) : -1;
}

/* BERTH_TICKET: 32 hexadecimal digits, from `berth run`; tasks of Slurm are known by their pid instead. */
static bool read_ticket(uint8_t ticket[TICKET_BYTES]) {
  const char *text = getenv("BERTH_TICKET");

  if (!text || strlen(text) != (size_t)TICKET_BYTES * 2)
    return false;
  for (size_t i = 0; i < TICKET_BYTES; i++) {
    const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    ticket[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

static bool build_hello(struct frame_out *frame, const char *argv0) {
  uint8_t ticket[TICKET_BYTES];
  cleanup_free char *cwd = getcwd(NULL, 0);

  frame_start(frame, BERTH_HELLO);
  frame_add_word(frame, BERTH_TAG_TTY, terminal_columns());
  frame_add_text(frame, BERTH_TAG_ARGV0, argv0);
  frame_add_text(frame, BERTH_TAG_CWD, cwd ? cwd : "/");
  if (read_ticket(ticket))
    frame_add(frame, BERTH_TAG_TICKET, ticket, TICKET_BYTES);
  return frame_finish(frame);
}

static int connect_worker(const char *path, struct error *error) {
  const long long deadline = wire_now() + CONNECT_MS_MAX;
  uid_t owner = 0;

  for (;;) {
    const int fd = wire_connect(path, CONNECT_MS_MAX, &owner);
    if (fd >= 0)
      return fd;
    const int number = errno;
    if (number == EPERM)
      return fail_stranger(error, path, owner);
    if (wire_now() >= deadline || number == EACCES || number == ENOTDIR || number == ENAMETOOLONG)
      return fail_node(error, "BERTH_ENOWORKER", "no worker at ", path, ": ", text_errno(number), NULL);
    wire_sleep(CONNECT_RETRY_MS);
  }
}

static void copy_out(const struct frame_in *frame, int fd) {
  struct field field;

  if (frame_find(frame, BERTH_TAG_TEXT, &field))
    text_write(fd, (const char *)field.bytes, field.length);
}

/*
 * Listens on one connection until an answer ends it. True when answer holds that frame; false when the worker
 * went away (*heard tells whether it had said anything) or error is filled.
 */
static bool await_answer(int fd, struct frame_in *answer, bool *heard, struct error *error) {
  for (;;) {
    const int got = wire_receive(fd, answer, SILENCE_MS_MAX);
    if (got == 1 && answer->type == BERTH_LOGIN) {
      *heard = true;
      if (login_answer(fd, answer, LOGIN_MS_MAX) < 0)
        return false;
      continue;
    }
    if (got == 1 && answer->type != BERTH_PROGRESS)
      return true;
    if (got == 1) {
      *heard = true;
      copy_out(answer, STDERR_FILENO);
      continue;
    }
    if (got < 0 && errno == ETIMEDOUT)
      fail_node(error, "BERTH_ENOWORKER", "the worker has been silent for 15 minutes", NULL);
    else if (got < 0 && errno == EPROTONOSUPPORT)
      fail_version(error);
    else if (got < 0 && errno == EPROTO)
      fail_protocol(error, "it is no frame");
    return false;
  }
}

/* The connection of the answer, which may be wanted later, or -1. */
static int ask(const char *path, const char *argv0, struct frame_in *answer, struct error *error) {
  cleanup_frame_out struct frame_out hello = {0};

  if (!build_hello(&hello, argv0)) {
    fail_internal(error, "cannot describe the task: ", text_errno(errno), NULL);
    return -1;
  }
  for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    cleanup_close int fd = connect_worker(path, error);
    bool heard = false;
    if (fd < 0)
      return -1;
    /* A worker that serves no more has said so and hung up, perhaps before this. */
    const bool sent = wire_send(fd, &hello, NULL, 0, SEND_MS_MAX) == 0 || errno == EPIPE;
    if (sent && await_answer(fd, answer, &heard, error))
      return steal_fd(&fd);
    if (error_is_set(error))
      return -1;
    if (heard)
      attempt = -1;
    wire_sleep(CONNECT_RETRY_MS);
  }
  fail_node(error, "BERTH_ENOWORKER", "the worker went away several times without an answer", NULL);
  return -1;
}

static int launch(char **argv, struct error *error) {
  const char *path = getenv("BERTH_SOCKET");
  const char *refused = getenv(REFUSED_VARIABLE);
  struct frame_in answer = {0};
  uint32_t status = 0;
  bool stays = false;
  int ended = -1;

  if (refused)
    return BERTH_EXIT_FAILED;
  /* A relative path could be the user's working directory's; slurmstepd and `berth run` give an absolute one.
   */
  if (!path || path[0] != '/')
    return fail_node(error, "BERTH_ENOWORKER",
                     "a container was asked for, but plugstack.conf of this node has no line of berth: "
                     "nobody here prepared it",
                     NULL);
  cleanup_close int connection = ask(path, argv[0] ? argv[0] : "", &answer, error);
  cleanup_close int witness = -1;
  if (connection < 0)
    return -1;
  switch (answer.type) {
  case BERTH_JOIN:
    stays = stay_is_asked(&answer) || join_has_pids(&answer);
    witness = stays ? witness_start() : -1;
    if (join_has_pids(&answer) && join_namespaces(&answer, error) < 0)
      return -1;
    if (stays && !stay(&answer, connection, witness, &ended, error))
      return ended;
    join_run(&answer, argv, environ, error);
    stay_failed();
    return -1;
  case BERTH_PRINT:
    copy_out(&answer, STDOUT_FILENO);
    (void)frame_word(&answer, BERTH_TAG_EXIT, &status);
    return (int)(status & 0xff);
  case BERTH_FAIL:
    fail_take(&answer, error);
    return -1;
  default:
    return fail_protocol(error, "it is of an unknown kind");
  }
}

int main(int argc, char **argv) {
  static struct error error;
  char variable[COMPONENT_VARIABLE_MAX];

  if (resume_is_asked(argv)) {
    resume_run(argv, environ, &error);
    error_print(&error, STDERR_FILENO);
    return error.exit;
  }
  component_variable(argc > 0 ? component_of(argv[0]) : 0, variable);
  char *argv0 = getenv(variable);
  /* Put in argv[0]'s place, or in front of the whole command line. */
  if (argv0 && argc > 0)
    argv[0] = argv0;
  else if (argc > 0)
    argv++;
  const int status = launch(argv, &error);
  if (!error_is_set(&error))
    return status;
  error_print(&error, STDERR_FILENO);
  return error.exit;
}
