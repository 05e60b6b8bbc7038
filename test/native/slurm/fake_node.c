/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for node and worker.js under the keeper: writes what it was given to RUNTIME_DIR/report, then
 * serves connections on descriptor 3, one letter each: p answers its pid, 0 exits well, c exits with 3,
 * t with 143, h answers the pid without which it cannot end, others wait.
 *
 * --keyed PROGRAM ARG...: runs a program whose session keyring holds a key, as that of a login may.
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY "berth-test"

extern char **environ;

static int run_keyed(char **program) {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, KEY) < 0 ||
      syscall(SYS_add_key, "user", KEY, "x", 1, KEY_SPEC_SESSION_KEYRING) < 0)
    perror("keyctl");
  (void)execv(program[0], program);
  return 127;
}

/* As one that waits for a disk: signals end it, but it stays until its tracer has ended (ptrace(2)). */
static pid_t hang_at_end(int connection) {
  const pid_t own = getpid();
  int ready[2], status;
  char byte;

  if (pipe(ready) < 0)
    return -1;
  const pid_t tracer = fork();
  if (tracer != 0)
    return read(ready[0], &byte, 1) == 1 ? tracer : -1;
  (void)alarm(60);
  (void)close(connection);
  if (ptrace(PTRACE_SEIZE, own, NULL, PTRACE_O_TRACEEXIT) < 0 || write(ready[1], "", 1) != 1)
    _exit(1);
  while (waitpid(own, &status, __WALL) == own && status >> 16 != PTRACE_EVENT_EXIT)
    (void)ptrace(PTRACE_CONT, own, NULL, WSTOPSIG(status));
  for (;;)
    (void)pause();
}

static void copy(FILE *report, const char *path) {
  char line[4096];
  FILE *file = fopen(path, "r");

  while (file && fgets(line, sizeof(line), file))
    fprintf(report, "%s %s", path, line);
  if (file)
    (void)fclose(file);
}

static void write_report(const char *directory, int argc, char **argv) {
  char path[4096], fresh[4096], cwd[4096];
  struct rlimit files;

  (void)snprintf(path, sizeof(path), "%s/report", directory);
  (void)snprintf(fresh, sizeof(fresh), "%s/report.new", directory);
  FILE *report = fopen(fresh, "w");
  if (!report)
    return;
  for (int i = 1; i < argc; i++)
    fprintf(report, "arg %s\n", argv[i]);
  for (char **variable = environ; *variable; variable++)
    fprintf(report, "env %s\n", *variable);
  for (int fd = 0; fd < 256; fd++)
    if (fd != fileno(report) && fcntl(fd, F_GETFD) >= 0)
      fprintf(report, "fd %d\n", fd);
  (void)getrlimit(RLIMIT_NOFILE, &files);
  fprintf(report, "pid %d\nsid %d\ncwd %s\numask %o\nfiles %lu\n", getpid(), getsid(0),
          getcwd(cwd, sizeof(cwd)), umask(022), (unsigned long)files.rlim_cur);
  if (syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", KEY, 0) >= 0)
    fprintf(report, "key " KEY "\n");
  copy(report, "/proc/self/cgroup");
  copy(report, "/proc/self/status");
  copy(report, "/proc/self/oom_score_adj");
  (void)fclose(report);
  (void)rename(fresh, path);
}

int main(int argc, char **argv) {
  const char *const key = "--runtime-dir=";

  if (argc > 2 && strcmp(argv[1], "--keyed") == 0)
    return run_keyed(argv + 2);
  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], key, strlen(key)) == 0)
      write_report(argv[i] + strlen(key), argc, argv);
  (void)fcntl(3, F_SETFL, 0);
  for (;;) {
    char letter = 0, answer[32];
    const int fd = accept(3, NULL, NULL);
    if (fd < 0 || read(fd, &letter, 1) != 1)
      letter = 0;
    const int length = snprintf(answer, sizeof(answer), "%d", letter == 'h' ? hang_at_end(fd) : getpid());
    if ((letter == 'p' || letter == 'h') && write(fd, answer, (size_t)length) < 0)
      return 4;
    if (letter == '0')
      return 0;
    if (letter == 'c')
      return 3;
    if (letter == 't')
      return 143;
    if (letter)
      (void)close(fd);
  }
}
