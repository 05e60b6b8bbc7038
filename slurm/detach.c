/* SPDX-License-Identifier: Apache-2.0 */
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clean.h"
#include "namespaces.h"
#include "text.h"
#include "ungroup.h"

/* Kept for one restart of the keeper; runtime_dir is usually a tmpfs. */
#define LOG_BYTES_MAX (16 << 20)
/* One descriptor per waiting task, lease and image; node's own default would be slurmd's. */
#define OPEN_FILES_MAX 65536
#define STACK_BYTES (8 << 20)
#define PATH_OF_ROOT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void reset_signals(void) {
  const struct sigaction standard = {.sa_handler = SIG_DFL};
  sigset_t none;

  for (int number = 1; number < NSIG; number++)
    (void)sigaction(number, &standard, NULL);
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void reset_limits(void) {
  static const int unlimited[] = {RLIMIT_AS,      RLIMIT_CPU,   RLIMIT_DATA, RLIMIT_FSIZE,     RLIMIT_LOCKS,
                                  RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_RSS,  RLIMIT_SIGPENDING};
  const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
  struct rlimit files = {OPEN_FILES_MAX, OPEN_FILES_MAX};
  const struct rlimit stack = {STACK_BYTES, RLIM_INFINITY};
  const struct rlimit core = {0, RLIM_INFINITY};
  cpu_set_t all;

  for (size_t i = 0; i < ARRAY_SIZE(unlimited); i++)
    (void)setrlimit((__rlimit_resource_t)unlimited[i], &none);
  if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
    /* Root of a container may not raise the hard limit. */
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  (void)setrlimit(RLIMIT_STACK, &stack);
  (void)setrlimit(RLIMIT_CORE, &core);
  (void)setpriority(PRIO_PROCESS, 0, 0);
  memset(&all, 0xff, sizeof(all));
  (void)sched_setaffinity(0, sizeof(all), &all);
  /* slurmd protects itself from the OOM killer; a worker is replaceable. */
  (void)text_write_file("/proc/self/oom_score_adj", "0");
}

/* Descriptors of slurmd or the step would keep their sockets and pipes open for days. */
static void close_others(int keep) {
  if (keep > STDERR_FILENO + 1)
    close_between(STDERR_FILENO + 1, (unsigned int)keep - 1);
  close_all_from((unsigned int)keep + 1);
}

static bool open_log(struct keeper *keeper) {
  char path[PATH_MAX], old[PATH_MAX];
  struct stat info;

  if (!text_join(path, sizeof(path), keeper->runtime_dir, "/worker.log", NULL) ||
      !text_join(old, sizeof(old), path, ".old", NULL))
    return keeper_refuse(keeper, "shorten runtime_dir= in plugstack.conf: ", path, " is too long", NULL);
  if (stat(path, &info) == 0 && info.st_size > LOG_BYTES_MAX)
    (void)rename(path, old);
  cleanup_close int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  cleanup_close int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (log < 0 || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
      dup2(log, STDERR_FILENO) < 0)
    return keeper_refuse(keeper, "cannot write ", path, ": ", text_errno(errno), NULL);
  keeper->logs = true;
  return true;
}

/*
 * The session keyring would be that of slurmd, or of root's login where a command starts us. Whoever inherits
 * it may read what is in it, whatever their uid (keyrings(7)), and the worker starts programs of users.
 * ENOSYS: a kernel without keys.
 */
static void leave_keyring(void) { (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); }

static void reset_environment(void) {
  (void)clearenv();
  (void)setenv("PATH", PATH_OF_ROOT, 1);
  (void)setenv("LANG", "C.UTF-8", 1);
}

enum detached detach(struct keeper *keeper, int starter) {
  const pid_t first = fork();

  if (first != 0)
    return first < 0 ? DETACH_FAILED : DETACH_PARENT;
  reset_signals();
  keeper->starter = starter;
  close_others(starter);
  (void)setsid();
  leave_keyring();
  if (!open_log(keeper))
    _exit(1);
  /* Before the second fork, which is what puts us into another pid namespace. */
  if (!namespaces_leave(keeper))
    _exit(1);
  const pid_t second = fork();
  if (second != 0)
    _exit(second < 0 ? 1 : 0);
  if (chdir("/") < 0)
    _exit(1);
  reset_environment();
  reset_limits();
  ungroup();
  return DETACH_CHILD;
}
