/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-keeper: where no systemd does it, holds the worker's socket and starts the worker when someone
 * connects. Started by the shim as root; tiny, so that it may stay for as long as there is work.
 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clean.h"
#include "detach.h"
#include "serve.h"
#include "text.h"
#include "wire.h"

/* A step waits for this process: its detached part must listen by then. */
#define READY_MS_MAX 4000
#define RUNTIME_DIR_MODE 0755
/* A keeper that leaves has taken its socket away before it lets go of the lock; a loaded node takes its time.
 */
#define LEAVING_MS_MAX 2000
#define LOCK_RETRY_MS 2

void keeper_log(const char *first, ...) {
  char line[2 * PATH_MAX], number[NUMBER_TEXT_MAX];
  va_list parts;

  (void)text_join(line, sizeof(line), text_number(number, (long long)time(NULL)), " berth-keeper: ", first,
                  NULL);
  va_start(parts, first);
  for (const char *part = va_arg(parts, const char *); part; part = va_arg(parts, const char *)) {
    const size_t at = strlen(line);
    (void)text_join(line + at, sizeof(line) - 1 - at, part, NULL);
  }
  va_end(parts);
  const size_t length = strlen(line);
  line[length] = '\n';
  text_write(STDERR_FILENO, line, length + 1);
}

/* Takes the value of `key` into buffer. */
static bool take(const char *argument, const char *key, char buffer[PATH_MAX]) {
  return text_starts(argument, key) && text_join(buffer, PATH_MAX, argument + strlen(key), NULL);
}

static bool read_arguments(struct keeper *keeper, int argc, char **argv) {
  /* V8 lets the heap of young objects grow to 48 MiB and keeps it while the worker idles (MiB of a third). */
  static char young_heap[] = "--max-semi-space-size=2";
  char self[PATH_MAX] = "";
  size_t count = 0;

  if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
    return false;
  *strrchr(self, '/') = '\0';
  if (!text_join(keeper->node, PATH_MAX, self, "/node", NULL) ||
      !text_join(keeper->script, PATH_MAX, self, "/bin/worker.js", NULL) || argc > KEEPER_ARGUMENTS_MAX)
    return false;
  keeper->worker[count++] = keeper->node;
  keeper->worker[count++] = young_heap;
  keeper->worker[count++] = keeper->script;
  for (int i = 1; i < argc; i++) {
    if (take(argv[i], "--node=", keeper->node) || take(argv[i], "--worker=", keeper->script))
      continue;
    (void)take(argv[i], "--runtime-dir=", keeper->runtime_dir);
    keeper->worker[count++] = argv[i];
  }
  return keeper->runtime_dir[0] == '/' &&
         text_join(keeper->socket, PATH_MAX, keeper->runtime_dir, "/worker.sock", NULL);
}

/* Whoever can write here could put a socket of their own in the worker's place. */
static bool prepare_directory(const char *path) {
  struct stat info;

  if (mkdir(path, RUNTIME_DIR_MODE) < 0 && errno != EEXIST)
    keeper_log("cannot create ", path, ": ", text_errno(errno), NULL);
  else if (lstat(path, &info) < 0 || !S_ISDIR(info.st_mode))
    keeper_log(path, " is no directory", NULL);
  else if (info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    keeper_log(path, " can be written by others than its owner root", NULL);
  else
    return true;
  return false;
}

/* The lock ends with this process; the worker must not inherit it. False when another one listens. */
static bool lock(const struct keeper *keeper) {
  const long long deadline = wire_now() + LEAVING_MS_MAX;
  char path[PATH_MAX];

  if (!text_join(path, sizeof(path), keeper->runtime_dir, "/keeper.lock", NULL))
    return false;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
    if (serve_answers(keeper) || wire_now() >= deadline)
      return false;
    wire_sleep(LOCK_RETRY_MS);
  }
  return fd >= 0;
}

static int keep(struct keeper *keeper, int ready) {
  if (!lock(keeper)) {
    /* Another one is listening, or just about to. */
    text_write(ready, "b", 1);
    return 0;
  }
  const int listener = serve_listen(keeper);
  if (listener == SERVE_TAKEN)
    text_write(ready, "b", 1);
  if (listener < 0)
    return listener == SERVE_TAKEN ? 0 : 1;
  text_write(ready, "l", 1);
  (void)close(ready);
  return serve(keeper, listener);
}

/* The first process: answers the shim once the detached one has spoken, or has gone. */
static int await_ready(int ready) {
  const long long deadline = wire_now() + READY_MS_MAX;
  char word = 0;

  while (wire_now() < deadline) {
    const ssize_t got = read(ready, &word, 1);
    if (got == 1)
      return 0;
    if (got == 0)
      return 1;
    if (errno != EAGAIN && errno != EINTR)
      return 1;
    wire_sleep(1);
  }
  return 1;
}

int main(int argc, char **argv) {
  static struct keeper keeper;
  int ready[2];

  if (!read_arguments(&keeper, argc, argv)) {
    keeper_log("usage: berth-keeper --runtime-dir=/DIR [--node=PATH] [worker's arguments]", NULL);
    return 2;
  }
  if (!prepare_directory(keeper.runtime_dir) || pipe2(ready, O_CLOEXEC | O_NONBLOCK) < 0)
    return 1;
  switch (detach(&keeper, ready[1])) {
  case DETACH_PARENT:
    (void)close(ready[1]);
    return await_ready(ready[0]);
  case DETACH_CHILD:
    return keep(&keeper, ready[1]);
  default:
    return 1;
  }
}
