/* SPDX-License-Identifier: Apache-2.0
 *
 * berth-tend: starts a program as the user, an engine's in given namespaces, and answers for all of its
 * processes, wherever they fork to: when the control connection ends, they end. Run by the worker as root,
 * before there is anything to start.
 *
 * fd 3 is the control connection, a socket of the worker's making. First comes the order: its length in
 * decimal and a newline, then so many bytes of words, each with a NUL behind it:
 *
 *   UID, GID, GROUPS  of the user; groups with commas between them, may be empty
 *   MNT, USER         the worker's own descriptors of the namespaces to be entered; may be empty
 *   COUNT             so many words of the program follow, then the variables of its environment
 *
 * After that a byte: 't': ask the program and its process group to end, and end what is left soon; another:
 * end all now; EOF: the worker is gone, and with it what the engine waits for, so end what is left soon. The
 * answer is "exit STATUS\n" (as waitpid(2) gives it) once the program has ended.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clean.h"
#include "text.h"

enum { CONTROL = 3, PLEASE_END = 't' };

/* Places of the words. */
enum { UID, GID, GROUPS, MNT, USER, COUNT, PROGRAM };
/* What execve(2) takes is less. */
#define ORDER_BYTES_MAX (8u << 20)
#define LENGTH_TEXT_MAX 16

/* NGROUPS_MAX of Linux. */
enum { GROUPS_MAX = 65536 };
/* As the shell's: the engine itself was not run. */
#define STATUS_NOT_RUN 126
/* An engine whose container has ended removes its files. */
#define GRACE_MS 3000
/* Killed processes end at once, unless one waits for a disk; then nobody can do more. */
#define END_ROUNDS_MAX 2000
#define END_ROUND_US 5000
/* Some thousand numbers. */
#define CHILDREN_TEXT_MAX (64 << 10)

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

/* By the socket, since a worker that has gone is nobody's parent: whoever came after it has other
 * descriptors. */
static int open_worker(void) {
  struct ucred worker;
  socklen_t length = sizeof(worker);
  char path[64], number[NUMBER_TEXT_MAX];

  if (getsockopt(CONTROL, SOL_SOCKET, SO_PEERCRED, &worker, &length) < 0)
    give_up("control");
  (void)text_join(path, sizeof(path), "/proc/", text_number(number, worker.pid), "/fd", NULL);
  const int fds = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fds < 0)
    give_up(path);
  return fds;
}

/* The mount namespace first: what is mounted there is root's to see. */
static void enter_places(char **words) {
  static const struct { int word, kind; } places[] = {{MNT, CLONE_NEWNS}, {USER, CLONE_NEWUSER}};
  const int worker = open_worker();
  int fds[ARRAY_SIZE(places)];

  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    const char *number = words[places[i].word];
    fds[i] = *number ? openat(worker, number, O_RDONLY | O_CLOEXEC) : -1;
    if (*number && fds[i] < 0)
      give_up("namespace");
  }
  for (size_t i = 0; i < ARRAY_SIZE(places); i++)
    if (fds[i] >= 0 && setns(fds[i], places[i].kind) < 0)
      give_up("setns");
}

static bool receive(char *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    const ssize_t got = recv(CONTROL, bytes + done, length - done, 0);
    if (got == 0 || (got < 0 && errno != EINTR))
      return false;
    done += got > 0 ? (size_t)got : 0;
  }
  return true;
}

/* 0: there is no order. */
static size_t receive_length(void) {
  char text[LENGTH_TEXT_MAX];

  for (size_t length = 0; length < sizeof(text) && receive(text + length, 1); length++)
    if (text[length] == '\n') {
      text[length] = '\0';
      return strtoul(text, NULL, 10);
    }
  return 0;
}

/* Waits for the order; a NULL stands behind the program's words and behind its environment. NULL: nothing is
 * to be started. The memory is the process'. */
static char **receive_order(char ***environment) {
  static char *bytes, **words;
  const size_t length = receive_length();
  size_t count = 0;

  if (length == 0 || length > ORDER_BYTES_MAX)
    return NULL;
  bytes = malloc(length);
  if (!bytes || !receive(bytes, length) || bytes[length - 1] != '\0')
    return NULL;
  for (size_t i = 0; i < length; i++)
    count += bytes[i] == '\0';
  words = calloc(count + 2, sizeof(*words));
  if (!words || count <= PROGRAM)
    return NULL;
  char *at = bytes;
  size_t behind = count;
  for (size_t i = 0, to = 0; i < count; i++, at += strlen(at) + 1) {
    words[to++] = at;
    if (i == COUNT)
      behind = PROGRAM + strtoul(at, NULL, 10);
    if (i + 1 == behind)
      words[to++] = NULL;
  }
  if (behind <= PROGRAM || behind > count)
    return NULL;
  *environment = words + behind + 1;
  return words;
}

/* The worker has something to say to the program; a terminal or device of its own is none of this place. */
static bool is_fed(void) {
  struct stat in;

  return fstat(STDIN_FILENO, &in) == 0 && (S_ISSOCK(in.st_mode) || S_ISFIFO(in.st_mode));
}

static _Noreturn void run(char **words, char **environment, const sigset_t *signals) {
  const uid_t uid = (uid_t)strtoul(words[UID], NULL, 10);
  const gid_t gid = (gid_t)strtoul(words[GID], NULL, 10);

  /* The worker's own may be lower, so that jobs end before it; a user's program is none of it. */
  (void)text_write_file("/proc/self/oom_score_adj", "0");
  /* Before the user namespace: that of a container lets nobody change groups. */
  take_groups(words[GROUPS]);
  enter_places(words);
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
  close_all_from(STDERR_FILENO + 1);
  (void)sigprocmask(SIG_SETMASK, signals, NULL);
  (void)execve(words[PROGRAM], words + PROGRAM, environment);
  give_up(words[PROGRAM]);
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

/* A child that was not waited for keeps its number, and so does its process group. */
static void signal_child(pid_t child, int signal) {
  if (signal == SIGKILL || kill(-child, signal) < 0)
    (void)kill(child, signal);
}

/* Where the kernel keeps no list of them: on a busy node that is ten thousand files to read. */
static void signal_found(int signal) {
  DIR *all = opendir("/proc");

  for (const struct dirent *entry; all && (entry = readdir(all));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && parent_of(entry->d_name) == getpid())
      signal_child((pid_t)strtol(entry->d_name, NULL, 10), signal);
  if (all)
    (void)closedir(all);
}

/* By proc(5)'s list of this only thread's children, each with a blank behind it; nobody leaves it before he
 * is waited for. What does not fit is the next round's. */
static void signal_children(int signal) {
  static char text[CHILDREN_TEXT_MAX];
  char path[64], number[NUMBER_TEXT_MAX];
  char *blank;

  (void)text_join(path, sizeof(path), "/proc/self/task/", text_number(number, getpid()), "/children", NULL);
  if (text_read_file(path, text, sizeof(text)) < 0) {
    signal_found(signal);
    return;
  }
  for (const char *at = text; (blank = strchr(at, ' ')); at = blank + 1)
    signal_child((pid_t)strtol(at, NULL, 10), signal);
}

/* Children of the killed become children of this process, which is their subreaper (prctl(2)). */
static void end_all(pid_t program) {
  for (int round = 0; round < END_ROUNDS_MAX; round++) {
    signal_children(SIGKILL);
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
  char byte = 0;

  if (!wait_for(program, signals, CONTROL, -1))
    return;
  const bool told = recv(CONTROL, &byte, 1, MSG_DONTWAIT) > 0;
  if (told && byte == PLEASE_END)
    signal_children(SIGTERM);
  if ((!told || byte == PLEASE_END) && !wait_for(program, signals, told ? CONTROL : -1, GRACE_MS))
    return;
  end_all(program);
}

int main(void) {
  sigset_t all, before;
  char **environment = NULL;

  /* A stop of the worker's service must not keep it from its duty. */
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  (void)sigemptyset(&before);
  (void)fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
    give_up("subreaper");
  char **words = receive_order(&environment);
  if (!words)
    return 0;
  const pid_t program = fork();
  if (program < 0)
    give_up("fork");
  if (program == 0)
    run(words, environment, &before);
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
