/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-init: the first process of a container's own pid namespace. It takes in what is orphaned there and
 * ends, and with it everything in the namespace, when nobody holds the other end of fd 3 any more. Static: no
 * image is known.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { LEASE = 3 };

int main(void) {
  sigset_t all;
  char byte;

  /* execveat(2) has named it by a descriptor. */
  (void)prctl(PR_SET_NAME, "berth-init", 0, 0, 0);
  (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, NULL);
  /* The kernel reaps then (wait(2)), also those whose parents have gone. */
  (void)signal(SIGCHLD, SIG_IGN);
  for (int fd = STDIN_FILENO; fd < LEASE; fd++)
    (void)close(fd);
  (void)!chdir("/");
  for (;;) {
    const ssize_t got = read(LEASE, &byte, 1);
    if (got == 0 || (got < 0 && errno != EINTR))
      return 0;
  }
}
