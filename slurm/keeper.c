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

#define LINE_BYTES_MAX (2 * PATH_MAX)
/* A step waits for this process: its detached part must listen by then. */
#define READY_MS_MAX 4000
/* What the detached part says when it listens; anything else is why it does not. */
#define READY "\n"
#define RUNTIME_DIR_MODE 0755
/* A keeper that leaves has taken its socket away before it lets go of the lock; a loaded node takes its time.
 */
#define LEAVING_MS_MAX 2000
#define LOCK_RETRY_MS 2

/* Writes what line holds, first and the parts as one line. */
static void write_line(int fd, char line[LINE_BYTES_MAX], const char *first, va_list parts) {
  for (const char *part = first; part; part = va_arg(parts, const char *)) {
    const size_t at = strlen(line);
    (void)text_join(line + at, LINE_BYTES_MAX - 1 - at, part, NULL);
  }
  const size_t length = strlen(line);
  line[length] = '\n';
  text_write(fd, line, length + 1);
}

static void write_log(const char *first, va_list parts) {
  char line[LINE_BYTES_MAX], number[NUMBER_TEXT_MAX];

  (void)text_join(line, sizeof(line), text_number(number, (long long)time(NULL)), " berth-keeper: ", NULL);
  write_line(STDERR_FILENO, line, first, parts);
}

void keeper_log(const char *first, ...) {
  va_list parts;

  va_start(parts, first);
  write_log(first, parts);
  va_end(parts);
}

bool keeper_refuse(const struct keeper *keeper, const char *first, ...) {
  char line[LINE_BYTES_MAX] = "";
  va_list parts, again;

  va_start(parts, first);
  va_copy(again, parts);
  write_line(keeper->starter, line, first, parts);
  if (keeper->logs)
    write_log(first, again);
  va_end(again);
  va_end(parts);
  return false;
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

/* Makes path and what is missing above it. 0 or the first failure's errno. */
static int make_directories(const char *path) {
  char part[PATH_MAX];
  int failure = 0;

  (void)text_join(part, sizeof(part), path, NULL);
  for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
    if (slash)
      *slash = '\0';
    if (mkdir(part, RUNTIME_DIR_MODE) < 0 && errno != EEXIST && failure == 0)
      failure = errno;
    if (!slash)
      return failure;
    *slash = '/';
  }
}

/* Whoever can write here could put a socket of their own in the worker's place. */
static bool prepare_directory(const struct keeper *keeper) {
  const char *const path = keeper->runtime_dir;
  const int failure = make_directories(path);
  struct stat info;

  if (lstat(path, &info) < 0)
    return keeper_refuse(keeper, "cannot create ", path, ": ", text_errno(failure ? failure : errno), NULL);
  if (!S_ISDIR(info.st_mode))
    return keeper_refuse(keeper, path,
                         " is no directory: remove it, or name another runtime_dir= in plugstack.conf", NULL);
  if (info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return keeper_refuse(keeper, "others than root can change ", path, ": chown root ", path, "; chmod go-w ",
                         path, NULL);
  return true;
}

/* The lock ends with this process; the worker must not inherit it. */
static enum lock { LOCK_FAILED, LOCK_TAKEN, LOCK_OURS } lock(const struct keeper *keeper) {
  const long long deadline = wire_now() + LEAVING_MS_MAX;
  char path[PATH_MAX];

  errno = ENAMETOOLONG;
  const int fd = text_join(path, sizeof(path), keeper->runtime_dir, "/keeper.lock", NULL)
                     ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
                     : -1;
  if (fd < 0) {
    keeper_refuse(keeper, "cannot open ", path, ": ", text_errno(errno), NULL);
    return LOCK_FAILED;
  }
  while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    if (serve_answers(keeper) || wire_now() >= deadline)
      return LOCK_TAKEN;
    wire_sleep(LOCK_RETRY_MS);
  }
  return LOCK_OURS;
}

static int keep(struct keeper *keeper) {
  const enum lock locked = lock(keeper);
  const int listener = locked == LOCK_OURS ? serve_listen(keeper) : -1;

  /* Another one is listening, or just about to. */
  if (locked == LOCK_TAKEN || listener == SERVE_TAKEN) {
    text_write(keeper->starter, READY, 1);
    return 0;
  }
  if (listener < 0)
    return 1;
  text_write(keeper->starter, READY, 1);
  (void)close(keeper->starter);
  keeper->starter = -1;
  return serve(keeper, listener);
}

/* The first process: answers its starter once the detached one has spoken, or has gone. */
static int await_ready(const struct keeper *keeper, int ready) {
  const long long deadline = wire_now() + READY_MS_MAX;
  char said[LINE_BYTES_MAX];
  size_t length = 0;

  while (wire_now() < deadline && length < sizeof(said)) {
    const ssize_t got = read(ready, said + length, sizeof(said) - length);
    if (got > 0)
      length += (size_t)got;
    if (length > 0 && said[0] == READY[0])
      return 0;
    if (got == 0) {
      text_write(keeper->starter, said, length);
      return 1;
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR)
      return 1;
    if (got < 0)
      wire_sleep(1);
  }
  keeper_refuse(keeper, "berth-keeper does not listen after 4 s", NULL);
  return 1;
}

int main(int argc, char **argv) {
  static struct keeper keeper = {.starter = STDOUT_FILENO};
  int ready[2];

  if (!read_arguments(&keeper, argc, argv)) {
    keeper_log("usage: berth-keeper --runtime-dir=/DIR [--node=PATH] [worker's arguments]", NULL);
    return 2;
  }
  /* The umask of slurmd, or of a user's shell. */
  (void)umask(S_IWGRP | S_IWOTH);
  if (!prepare_directory(&keeper))
    return 1;
  if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) < 0) {
    keeper_refuse(&keeper, "cannot start a worker: ", text_errno(errno), NULL);
    return 1;
  }
  switch (detach(&keeper, ready[1])) {
  case DETACH_PARENT:
    (void)close(ready[1]);
    return await_ready(&keeper, ready[0]);
  case DETACH_CHILD:
    return keep(&keeper);
  default:
    keeper_refuse(&keeper, "cannot start a worker: ", text_errno(errno), NULL);
    return 1;
  }
}
