/* SPDX-License-Identifier: Apache-2.0 */
#include "stay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clean.h"
#include "fail.h"
#include "text.h"
#include "wire.h"

#define SEND_MS_MAX 5000
/* The worker says something every few seconds while it saves, however large the container is. */
#define SILENCE_MS_MAX (15 * 60 * 1000)
#define CLOSE_RANGE 436
#define HINT_AGAIN "the file that was there is unchanged; run the step again"

bool stay_is_asked(const struct frame_in *frame) {
  uint32_t flags = 0;

  return frame_word(frame, BERTH_TAG_FLAGS, &flags) && (flags & BERTH_FLAG_STAY) != 0;
}

/*
 * Signals for the step reach the command as well, in the same process group and cgroup: passing them on would
 * give them to it twice. SIGKILL ends both, and with the connection the save.
 */
static void ignore_signals(void) {
  for (int number = 1; number < NSIG; number++)
    if (number != SIGCHLD)
      (void)signal(number, SIG_IGN);
  (void)signal(SIGCHLD, SIG_DFL);
}

/* What the command gave up must be seen as closed by the other side: output, PMI. */
static void close_others(int connection) {
  (void)close(STDIN_FILENO);
  (void)close(STDOUT_FILENO);
  if (connection > STDERR_FILENO + 1)
    (void)syscall(CLOSE_RANGE, STDERR_FILENO + 1, connection - 1, 0);
  (void)syscall(CLOSE_RANGE, connection + 1, ~0u, 0);
}

static int wait_for(pid_t child) {
  int status = 0;

  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return status;
}

static bool tell_end(int connection, int status, struct frame_in *answer) {
  cleanup_frame_out struct frame_out frame = {0};

  frame_start(&frame, BERTH_ENDED);
  frame_add_word(&frame, BERTH_TAG_EXIT, (uint32_t)status);
  if (!frame_finish(&frame) || wire_send(connection, &frame, NULL, 0, SEND_MS_MAX) < 0)
    return false;
  for (;;) {
    struct field field;
    if (wire_receive(connection, answer, SILENCE_MS_MAX) != 1)
      return false;
    if (answer->type != BERTH_PROGRESS)
      return true;
    if (frame_find(answer, BERTH_TAG_TEXT, &field))
      text_write(STDERR_FILENO, (const char *)field.bytes, field.length);
    frame_in_free(answer);
    memset(answer, 0, sizeof(*answer));
  }
}

/* One task of the node speaks for all where the worker cannot choose one. */
static bool is_speaker(void) {
  const char *local = getenv("SLURM_LOCALID");
  return !local || strcmp(local, "0") == 0;
}

static void hear(int connection, int status, struct error *error) {
  cleanup_frame_in struct frame_in answer = {0};

  if (!tell_end(connection, status, &answer))
    error_set(error, "BERTH_ESAVE", HINT_AGAIN,
              is_speaker() ? "the container was not saved: the worker went away" : "", NULL);
  else if (answer.type != BERTH_ACK)
    fail_take(&answer, error);
}

/* Slurm and scripts see the same end as without a launcher that stays; the core file was written once. */
static void die_by(int number) {
  const struct rlimit none = {0, 0};
  sigset_t only;

  (void)setrlimit(RLIMIT_CORE, &none);
  (void)signal(number, SIG_DFL);
  sigemptyset(&only);
  sigaddset(&only, number);
  (void)sigprocmask(SIG_UNBLOCK, &only, NULL);
  (void)raise(number);
}

/* Closed by exec; a byte in it says that there was none. */
static int not_started = -1;

void stay_failed(void) {
  if (not_started >= 0)
    (void)!write(not_started, "", 1);
}

static bool has_started(int reading) {
  char failed = 0;
  ssize_t got;

  do
    got = read(reading, &failed, 1);
  while (got < 0 && errno == EINTR);
  return got == 0;
}

bool stay(int connection, int *status, struct error *error) {
  sigset_t all, before;
  int ends[2] = {-1, -1};

  if (pipe2(ends, O_CLOEXEC) < 0) {
    error_set(error, "BERTH_EJOIN", "", "cannot start the command: pipe: ", text_errno(errno), NULL);
    return false;
  }
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t child = fork();
  if (child == 0) {
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(connection);
    (void)close(ends[0]);
    not_started = ends[1];
    return true;
  }
  const int reading = ends[0];
  (void)close(ends[1]);
  if (child < 0) {
    error_set(error, "BERTH_EJOIN", "", "cannot start the command: fork: ", text_errno(errno), NULL);
    return false;
  }
  ignore_signals();
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  const bool started = has_started(reading);
  close_others(connection);
  const int ended = wait_for(child);
  if (started)
    hear(connection, ended, error);
  const bool killed = WIFSIGNALED(ended);
  *status = killed ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
  if (error_is_set(error) && *status != 0)
    error->exit = *status;
  if (!killed)
    return false;
  error_print(error, STDERR_FILENO);
  die_by(WTERMSIG(ended));
  return false;
}
