/* SPDX-License-Identifier: Apache-2.0 */
#include "seat.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "witness.h"

static int terminal_of_session(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (tcgetsid(fd) == getpid())
      return fd;
  return -1;
}

static bool is_at_terminal(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (tcgetsid(fd) >= 0)
      return true;
  return false;
}

/* The kernel tells the foreground group that the terminal is gone, which here is this process (tty_ioctl(4)).
 */
static void leave_terminal(int terminal) {
  void (*const before)(int) = signal(SIGHUP, SIG_IGN);

  (void)ioctl(terminal, TIOCNOTTY);
  (void)signal(SIGHUP, before);
}

void seat_prepare(struct seat *seat, bool apart, sigset_t *before) {
  sigset_t all;

  seat->terminal = apart ? terminal_of_session() : -1;
  /* Whoever started `berth run` knows one process group; so does the terminal. */
  seat->shared = seat->terminal < 0 && (getenv("BERTH_TICKET") || is_at_terminal());
  if (seat->terminal >= 0)
    leave_terminal(seat->terminal);
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, before);
}

void seat_take(const struct seat *seat) {
  if (seat->terminal >= 0) {
    (void)setsid();
    (void)ioctl(seat->terminal, TIOCSCTTY, 0);
  } else if (!seat->shared) {
    (void)setpgid(0, 0);
  }
}

static bool has_reached_command(const struct seat *seat, const siginfo_t *info) {
  if (seat->shared && info->si_code == SI_KERNEL)
    return true;
  return seat->witness >= 0 && info->si_code <= 0 && info->si_pid == getppid() &&
         witness_saw(seat->witness, info->si_signo);
}

/* False when it has not ended. */
static bool take_news(const struct seat *seat, pid_t child, int *status) {
  const pid_t got = waitpid(child, status, WNOHANG | WUNTRACED);

  if (got != child)
    return false;
  if (!WIFSTOPPED(*status))
    return true;
  /* A shell with job control waits for this process. */
  if (seat->shared)
    (void)raise(SIGSTOP);
  return false;
}

int seat_attend(const struct seat *seat, pid_t child) {
  sigset_t all;
  siginfo_t info;
  int status = 0;

  sigfillset(&all);
  while (!take_news(seat, child, &status)) {
    const int number = sigwaitinfo(&all, &info);
    if (number > 0 && number != SIGCHLD && !has_reached_command(seat, &info))
      (void)kill(child, number);
  }
  return status;
}
