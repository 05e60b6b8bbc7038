/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clean.h"
#include "wire.h"

#define POLL_MS 2
/* Descriptors to close where the kernel has no close_range (before 5.9). */
#define OLD_KERNEL_FDS_MAX 1024
/* Told apart from any status of berth's own programs. */
#define STATUS_NOT_RUN 121

static void close_from(unsigned int first) {
  if (syscall(SYS_close_range, first, ~0u, 0) == 0)
    return;
  for (unsigned int fd = first; fd < OLD_KERNEL_FDS_MAX; fd++)
    (void)close((int)fd);
}

static void become(const char *const *argv, char *const *environment) {
  sigset_t none;
  const struct sigaction standard = {.sa_handler = SIG_DFL};

  for (int number = 1; number < NSIG; number++)
    (void)sigaction(number, &standard, NULL);
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);

  const int nothing = open("/dev/null", O_RDWR);
  if (nothing >= 0)
    (void)dup2(nothing, STDIN_FILENO);
  (void)dup2(STDERR_FILENO, STDOUT_FILENO);
  close_from(STDERR_FILENO + 1);
  (void)execve(argv[0], (char *const *)argv, environment);
  _exit(STATUS_NOT_RUN);
}

int child_run(const char *const *argv, char *const *environment, int wait_ms) {
  const long long deadline = wire_now() + wait_ms;
  const pid_t child = fork();
  int status;

  if (child < 0)
    return CHILD_NOT_RUN;
  if (child == 0)
    become(argv, environment);

  for (;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child)
      break;
    if (ended < 0 && errno != EINTR)
      return CHILD_LOST;
    if (wire_now() >= deadline) {
      (void)kill(child, SIGKILL);
      (void)waitpid(child, &status, 0);
      return CHILD_TIMED_OUT;
    }
    wire_sleep(POLL_MS);
  }
  if (WIFSIGNALED(status))
    return 128 + WTERMSIG(status);
  return WEXITSTATUS(status) == STATUS_NOT_RUN ? CHILD_NOT_RUN : WEXITSTATUS(status);
}
