/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-tend UID GID GROUPS PLACES PROGRAM WORD...: starts an engine's program as the user in given places
 * and answers for all of its processes, wherever they fork to: when the control connection ends, they end.
 * Run by the worker as root. GROUPS: comma-separated, may be empty. PLACES: mnt, or mnt,user, entered in this
 * order. The environment is the program's.
 *
 *   fd 3  control: "exit STATUS\n" (as waitpid(2) gives it) once the program has ended; a byte: end
 *         all now; EOF: the worker is gone, and with it what the engine waits for, so end what is left soon
 *   fd 4  the first of PLACES, and so on
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clean.h"
#include "text.h"

enum { CONTROL = 3, FIRST_PLACE = 4 };

/* NGROUPS_MAX of Linux. */
enum { GROUPS_MAX = 65536 };
/* As the shell's: the engine itself was not run. */
#define STATUS_NOT_RUN 126
#define OLD_KERNEL_FDS_MAX 1024
/* An engine whose container has ended removes its files. */
#define GRACE_MS 3000
/* Killed processes end at once, unless one waits for a disk; then nobody can do more. */
#define END_ROUNDS_MAX 2000
#define END_ROUND_US 5000

static void say(const char *what, const char *why) {
  char text[512];

  (void)text_join(text, sizeof(text), "berth-tend: ", what, ": ", why, "\n", NULL);
  text_write(STDERR_FILENO, text, strlen(text));
}

static _Noreturn void give_up(const char *what) {
  say(what, text_errno(errno));
  _exit(STATUS_NOT_RUN);
}

static void take_groups(const char *list) {
  static gid_t groups[GROUPS_MAX];
  size_t count = 0;

  for (char *end = NULL; *list && count < GROUPS_MAX; list = *end == ',' ? end + 1 : end) {
    groups[count++] = (gid_t)strtoul(list, &end, 10);
    if (*end != ',' && *end != '\0') {
      errno = EINVAL;
      give_up("groups");
    }
  }
  if (setgroups(count, groups) < 0)
    give_up("setgroups");
}

static void close_from(unsigned int first) {
  if (syscall(SYS_close_range, first, ~0u, 0) == 0)
    return;
  for (unsigned int fd = first; fd < OLD_KERNEL_FDS_MAX; fd++)
    (void)close((int)fd);
}

static void enter(const char *place, size_t length, int fd) {
  static const struct {
    const char *name;
    int kind;
  } namespaces[] = {{"mnt", CLONE_NEWNS}, {"user", CLONE_NEWUSER}};

  for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
    if (length == strlen(namespaces[i].name) && memcmp(place, namespaces[i].name, length) == 0) {
      if (setns(fd, namespaces[i].kind) < 0)
        give_up(namespaces[i].name);
      return;
    }
  errno = EINVAL;
  give_up("places");
}

static void enter_all(const char *places) {
  int fd = FIRST_PLACE;

  for (const char *at = places; *at; fd++) {
    const size_t length = strcspn(at, ",");
    enter(at, length, fd);
    at += length + (at[length] == ',');
  }
}

/* The worker has something to say to the program; a terminal or device of its own is none of this place. */
static bool is_fed(void) {
  struct stat in;

  return fstat(STDIN_FILENO, &in) == 0 && (S_ISSOCK(in.st_mode) || S_ISFIFO(in.st_mode));
}

static _Noreturn void run(char **argv, const sigset_t *signals) {
  const uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
  const gid_t gid = (gid_t)strtoul(argv[2], NULL, 10);

  /* Before the user namespace: that of a container lets nobody change groups. */
  take_groups(argv[3]);
  enter_all(argv[4]);
  if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
    give_up("identity");
  if (setsid() < 0 || chdir("/") < 0)
    give_up("session");
  umask(022);
  if (!is_fed()) {
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0)
      give_up("/dev/null");
  }
  close_from(STDERR_FILENO + 1);
  (void)sigprocmask(SIG_SETMASK, signals, NULL);
  (void)execv(argv[5], argv + 5);
  give_up(argv[5]);
}

static long long now_ms(void) {
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void tell_status(int status) {
  char text[64], number[NUMBER_TEXT_MAX];

  (void)text_join(text, sizeof(text), "exit ", text_number(number, status), "\n", NULL);
  (void)send(CONTROL, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* False when there are no children any more. */
static bool reap(pid_t program) {
  int status;

  for (;;) {
    const pid_t ended = waitpid(-1, &status, WNOHANG);
    if (ended == program)
      tell_status(status);
    if (ended == 0)
      return true;
    if (ended < 0 && errno != EINTR)
      return false;
  }
}

/* The fourth field; the second, the name in brackets, may hold anything. */
static long parent_of(const char *pid) {
  char path[64], text[1024];

  if (!text_join(path, sizeof(path), "/proc/", pid, "/stat", NULL) ||
      text_read_file(path, text, sizeof(text)) < 0)
    return -1;
  const char *after = strrchr(text, ')');
  return after && strlen(after) > 4 ? strtol(after + 4, NULL, 10) : -1;
}

static void kill_children(void) {
  DIR *all = opendir("/proc");

  for (const struct dirent *entry; all && (entry = readdir(all));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && parent_of(entry->d_name) == getpid())
      (void)kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
  if (all)
    (void)closedir(all);
}

/* Children of the killed become children of this process, which is their subreaper (prctl(2)). */
static void end_all(pid_t program) {
  for (int round = 0; round < END_ROUNDS_MAX; round++) {
    kill_children();
    if (!reap(program))
      return;
    (void)usleep(END_ROUND_US);
  }
}

/* Waits until the time is up (-1: never), or the control connection says something; false when nobody is
 * left. */
static bool wait_for(pid_t program, int signals, int control, int wait_ms) {
  struct pollfd wait[] = {{.fd = signals, .events = POLLIN}, {.fd = control, .events = POLLIN}};
  struct signalfd_siginfo signal;
  const long long end = now_ms() + wait_ms;

  for (;;) {
    if (!reap(program))
      return false;
    const long long left = wait_ms < 0 ? -1 : end - now_ms();
    if (wait_ms >= 0 && left <= 0)
      return true;
    if (poll(wait, ARRAY_SIZE(wait), (int)left) < 0 && errno != EINTR)
      return true;
    if (wait[1].revents)
      return true;
    if (wait[0].revents)
      (void)!read(signals, &signal, sizeof(signal));
  }
}

static void attend(pid_t program, int signals) {
  char byte;

  if (!wait_for(program, signals, CONTROL, -1))
    return;
  if (recv(CONTROL, &byte, 1, MSG_DONTWAIT) <= 0 && !wait_for(program, signals, -1, GRACE_MS))
    return;
  end_all(program);
}

int main(int argc, char **argv) {
  sigset_t all, before;

  if (argc < 6) {
    say("words", "berth-tend UID GID GROUPS PLACES PROGRAM WORD...");
    return STATUS_NOT_RUN;
  }
  /* A stop of the worker's service must not keep it from its duty. */
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  (void)sigemptyset(&before);
  (void)fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
    give_up("subreaper");
  const pid_t program = fork();
  if (program < 0)
    give_up("fork");
  if (program == 0)
    run(argv, &before);
  close_from(FIRST_PLACE);
  /* Signals that came before are blocked and pending. */
  const int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) {
    say("signalfd", text_errno(errno));
    end_all(program);
    return STATUS_NOT_RUN;
  }
  attend(program, signals);
  return 0;
}
