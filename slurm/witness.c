/* SPDX-License-Identifier: Apache-2.0 */
#include "witness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clean.h"
#include "place.h"

static bool take(int number) {
  const struct timespec now = {0};
  sigset_t only;

  (void)sigemptyset(&only);
  (void)sigaddset(&only, number);
  return sigtimedwait(&only, NULL, &now) == number;
}

static _Noreturn void attend(int asked) {
  /* As the command: a signal for the launcher's process group (`scancel --full`) does not reach it. */
  (void)setpgid(0, 0);
  (void)dup2(asked, STDIN_FILENO);
  close_all_from(STDIN_FILENO + 1);
  for (int number; read(STDIN_FILENO, &number, sizeof(number)) == sizeof(number);) {
    const bool saw = take(number);
    (void)!send(STDIN_FILENO, &saw, sizeof(saw), MSG_NOSIGNAL);
  }
  _exit(0);
}

int witness_start(void) {
  const char *reach = getenv(SIGNALS_VARIABLE);
  sigset_t all, before;
  int ends[2];

  if (!reach || strcmp(reach, SIGNALS_REACH_ALL) != 0 ||
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return -1;
  cleanup_close int asking = ends[0];
  cleanup_close int asked = ends[1];
  /* It must never be without its mask. */
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t child = fork();
  if (child == 0)
    attend(asked);
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  return child < 0 ? -1 : steal_fd(&asking);
}

bool witness_saw(int witness, int number) {
  bool saw = true;

  if (send(witness, &number, sizeof(number), MSG_NOSIGNAL) != sizeof(number) ||
      recv(witness, &saw, sizeof(saw), 0) != sizeof(saw))
    return true;
  return saw;
}
