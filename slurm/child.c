/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clean.h"
#include "wire.h"

#define POLL_MS 2
/* SIGKILL takes effect at once, unless the process waits for a disk. */
#define REAP_MS_MAX 1000
/* Node runs a handler within milliseconds. */
#define TERM_MS_MAX 500
/* Told apart from any status of berth's own programs. */
#define STATUS_NOT_RUN 121

static void become(const char *const *argv, char *const *environment, int output) {
  sigset_t none;
  const struct sigaction standard = {.sa_handler = SIG_DFL};

  for (int number = 1; number < NSIG; number++)
    (void)sigaction(number, &standard, NULL);
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);

  const int nothing = open("/dev/null", O_RDWR);
  if (nothing >= 0)
    (void)dup2(nothing, STDIN_FILENO);
  (void)dup2(output >= 0 ? output : STDERR_FILENO, STDOUT_FILENO);
  close_all_from(STDERR_FILENO + 1);
  (void)execve(argv[0], (char *const *)argv, environment);
  _exit(STATUS_NOT_RUN);
}

/* The reading end of a child's stdout; -1: nobody reads it. */
struct capture {
  int pipe;
  char *output;
  size_t size;
  size_t length;
  bool overflows;
};

/* Takes what is there; never waits. */
static void drain(struct capture *capture) {
  while (capture->pipe >= 0 && !capture->overflows) {
    const size_t room = capture->size - 1 - capture->length;
    const ssize_t got = room > 0 ? read(capture->pipe, capture->output + capture->length, room) : 0;
    if (got <= 0) {
      capture->overflows = room == 0;
      break;
    }
    capture->length += (size_t)got;
  }
  if (capture->pipe >= 0)
    capture->output[capture->length] = '\0';
}

static bool reap(pid_t child, int wait_ms) {
  const long long deadline = wire_now() + wait_ms;

  while (waitpid(child, NULL, WNOHANG) == 0) {
    if (wire_now() >= deadline)
      return false;
    wire_sleep(POLL_MS);
  }
  return true;
}

/* It may have children to end. One that hangs in the kernel is left to whoever reaps this process' children.
 */
static void end(pid_t child) {
  (void)kill(child, SIGTERM);
  if (reap(child, TERM_MS_MAX))
    return;
  (void)kill(child, SIGKILL);
  (void)reap(child, REAP_MS_MAX);
}

static int wait_for(pid_t child, int wait_ms, struct capture *capture) {
  const long long deadline = wire_now() + wait_ms;
  int status;

  for (;;) {
    drain(capture);
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child)
      break;
    if (ended < 0 && errno != EINTR) {
      drain(capture);
      return CHILD_LOST;
    }
    if (wire_now() >= deadline || capture->overflows) {
      end(child);
      return capture->overflows ? CHILD_NOT_RUN : CHILD_TIMED_OUT;
    }
    wire_sleep(POLL_MS);
  }
  drain(capture);
  if (WIFSIGNALED(status))
    return 128 + WTERMSIG(status);
  return WEXITSTATUS(status) == STATUS_NOT_RUN || capture->overflows ? CHILD_NOT_RUN : WEXITSTATUS(status);
}

int child_run(const char *const *argv, char *const *environment, int wait_ms) {
  struct capture nothing = {.pipe = -1};
  const pid_t child = fork();

  if (child < 0)
    return CHILD_NOT_RUN;
  if (child == 0)
    become(argv, environment, -1);
  return wait_for(child, wait_ms, &nothing);
}

int child_read(const char *const *argv, char *const *environment, int wait_ms, char *output, size_t size) {
  int ends[2];

  output[0] = '\0';
  if (pipe2(ends, O_CLOEXEC) < 0)
    return CHILD_NOT_RUN;
  cleanup_close int reading = ends[0];
  cleanup_close int writing = ends[1];
  struct capture capture = {.pipe = reading, .output = output, .size = size};
  const pid_t child = fork();

  if (child < 0)
    return CHILD_NOT_RUN;
  if (child == 0)
    become(argv, environment, writing);
  (void)fcntl(reading, F_SETFL, O_NONBLOCK);
  return wait_for(child, wait_ms, &capture);
}
