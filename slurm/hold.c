/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-hold NAME: what an engine of the host runs in a container of berth's. It says to the worker that the
 * container is there and keeps it until the worker closes the connection or ends. Static: no image is known.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"

static int failed(const char *what) {
  const char *why = text_errno(errno);

  text_write(STDERR_FILENO, "berth-hold: ", strlen("berth-hold: "));
  text_write(STDERR_FILENO, what, strlen(what));
  text_write(STDERR_FILENO, ": ", 2);
  text_write(STDERR_FILENO, why, strlen(why));
  text_write(STDERR_FILENO, "\n", 1);
  return 1;
}

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = argc > 1 ? strlen(argv[1]) : 0;
  char end;

  /* sun_path[0] stays NUL: an abstract name, which every mount namespace finds (unix(7)). */
  if (length == 0 || length >= sizeof(address.sun_path))
    return failed("name");
  memcpy(address.sun_path + 1, argv[1], length);
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, size) < 0)
    return failed("cannot reach the worker");
  /* The worker reads until the end what the engine says. */
  for (int stdio = STDIN_FILENO; stdio <= STDERR_FILENO; stdio++)
    if (stdio != fd)
      (void)close(stdio);
  for (;;) {
    const ssize_t got = read(fd, &end, 1);
    if (got == 0 || (got < 0 && errno != EINTR))
      return 0;
  }
}
