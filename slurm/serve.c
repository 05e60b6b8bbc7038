/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clean.h"
#include "text.h"
#include "wire.h"

/* A thousand tasks may connect at once while the worker starts (the kernel caps it at somaxconn). */
#define BACKLOG 4096
/* A worker that fails by itself this soon after its start never got to work: node loads its code first. */
#define SHORT_LIFE_MS 5000
/* Killed by a signal from outside it may have worked well, so only a really short life counts. */
#define SHORT_LIFE_SIGNALLED_MS 1000
#define SHORT_LIVES_MAX 3
/* A worker that was told to end while steps or launchers need one (TOLD_STATUS of src/worker/start.ts). */
#define TOLD_STATUS 143
/* SIGTERM lets a worker undo what it was doing. */
#define STOP_MS_MAX 10000
/* systemd's convention, so that a unit can take the keeper's place. */
#define LISTEN_FD 3
/* Threads of the worker for what blocks: builds of namespaces share them with fsyncs of images, copies and
 * removals of other steps, which a slow disk may hold for seconds. More than all imports and saves of a busy
 * node together; an idle one costs 12 KiB. The systemd unit says the same. */
#define POOL_THREADS "64"

struct worker {
  /** 0: none runs. */
  pid_t pid;
  long long started;
  int short_lives;
  /** SIGTERM was passed on; SIGKILL follows at this time. */
  long long kill_at;
  /** It has followed: one that waits for a disk ends when it can. */
  bool killed;
};

bool serve_answers(const struct keeper *keeper) {
  cleanup_close int fd = wire_connect(keeper->socket, 0, NULL);
  return fd >= 0 || (errno != ENOENT && errno != ECONNREFUSED);
}

static void write_pid(const struct keeper *keeper, bool present) {
  char path[PATH_MAX], number[NUMBER_TEXT_MAX];

  if (!text_join(path, sizeof(path), keeper->runtime_dir, "/keeper.pid", NULL))
    return;
  if (!present) {
    (void)unlink(path);
    return;
  }
  cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  char *pid = text_number(number, getpid());
  if (fd >= 0)
    text_write(fd, pid, strlen(pid));
}

/* Another keeper's socket is not ours to take away. */
static bool is_ours(const struct keeper *keeper) {
  struct stat there;

  return lstat(keeper->socket, &there) == 0 && there.st_ino == keeper->own.st_ino &&
         there.st_dev == keeper->own.st_dev;
}

int serve_listen(struct keeper *keeper) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  /* A worker can outlive a keeper that was killed. */
  if (serve_answers(keeper))
    return SERVE_TAKEN;
  if (fd < 0 || chdir(keeper->runtime_dir) < 0) {
    keeper_refuse(keeper, "cannot enter ", keeper->runtime_dir, ": ", text_errno(errno), NULL);
    return -1;
  }
  /* Under another name until it listens, so that nobody is refused in between; relative, as sun_path is
   * short. */
  (void)text_join(address.sun_path, sizeof(address.sun_path), "worker.sock.new", NULL);
  (void)unlink(address.sun_path);
  if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || chmod(address.sun_path, 0666) < 0 ||
      listen(fd, BACKLOG) < 0 || lstat(address.sun_path, &keeper->own) < 0 ||
      rename(address.sun_path, "worker.sock") < 0) {
    keeper_refuse(keeper, "cannot listen at ", keeper->socket, ": ", text_errno(errno), NULL);
    return -1;
  }
  /* Before anybody is told that the keeper is there. */
  write_pid(keeper, true);
  return chdir("/") < 0 ? -1 : steal_fd(&fd);
}

static bool is_pending(int listener) {
  struct pollfd entry = {.fd = listener, .events = POLLIN};
  return poll(&entry, 1, 0) > 0;
}

static void become_worker(struct keeper *keeper, int listener) {
  char pid[NUMBER_TEXT_MAX];
  sigset_t none;

  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  if (listener == LISTEN_FD)
    (void)fcntl(listener, F_SETFD, 0);
  else
    (void)dup2(listener, LISTEN_FD);
  (void)setenv("LISTEN_FDS", "1", 1);
  (void)setenv("LISTEN_PID", text_number(pid, getpid()), 1);
  (void)setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 1);
  (void)execv(keeper->node, keeper->worker);
  keeper_log("cannot execute ", keeper->node, ": ", text_errno(errno), NULL);
  _exit(127);
}

static void start(struct worker *worker, struct keeper *keeper, int listener) {
  worker->started = wire_now();
  worker->pid = fork();
  if (worker->pid == 0)
    become_worker(keeper, listener);
  if (worker->pid < 0) {
    keeper_log("cannot fork: ", text_errno(errno), NULL);
    worker->pid = 0;
    worker->short_lives++;
  }
}

/* Takes the name away first, so that a connection is either seen here or finds no socket and starts another
 * keeper. */
static bool may_leave(const struct keeper *keeper, int listener) {
  char aside[PATH_MAX];

  if (!is_ours(keeper))
    return false;
  if (!text_join(aside, sizeof(aside), keeper->socket, ".old", NULL) || rename(keeper->socket, aside) < 0)
    return true;
  if (is_pending(listener)) {
    (void)rename(aside, keeper->socket);
    return false;
  }
  (void)unlink(aside);
  write_pid(keeper, false);
  return true;
}

static void log_end(int status) {
  char number[NUMBER_TEXT_MAX];

  if (WIFSIGNALED(status))
    keeper_log("worker killed by signal ", text_number(number, WTERMSIG(status)), NULL);
  else if (WEXITSTATUS(status) == TOLD_STATUS)
    keeper_log("worker was told to end, the next connection starts another", NULL);
  else if (WEXITSTATUS(status) != 0)
    keeper_log("worker failed with status ", text_number(number, WEXITSTATUS(status)), NULL);
}

/* True when there is nothing left to keep. */
static bool worker_ended(struct worker *worker, const struct keeper *keeper, int listener, int status) {
  const long long life = wire_now() - worker->started;
  const bool idle = WIFEXITED(status) && WEXITSTATUS(status) == 0;

  worker->pid = 0;
  log_end(status);
  /* Nobody finds us where another keeper listens, or none. */
  if (worker->kill_at > 0 || (!is_ours(keeper) && !is_pending(listener)))
    return true;
  if (idle) {
    worker->short_lives = 0;
    return may_leave(keeper, listener);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == TOLD_STATUS) {
    worker->short_lives = 0;
    return false;
  }
  const bool is_short = life < (WIFSIGNALED(status) ? SHORT_LIFE_SIGNALLED_MS : SHORT_LIFE_MS);
  worker->short_lives = is_short ? worker->short_lives + 1 : 0;
  return false;
}

static void stop(struct worker *worker) {
  if (worker->pid > 0)
    (void)kill(worker->pid, SIGTERM);
  if (worker->kill_at == 0)
    worker->kill_at = wire_now() + STOP_MS_MAX;
}

static int open_signals(void) {
  sigset_t set;

  (void)sigemptyset(&set);
  (void)sigaddset(&set, SIGCHLD);
  (void)sigaddset(&set, SIGTERM);
  (void)sigaddset(&set, SIGINT);
  (void)sigaddset(&set, SIGHUP);
  if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
    return -1;
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool was_told_to_stop(int signals) {
  struct signalfd_siginfo info;
  bool stop_seen = false;

  while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
    stop_seen = stop_seen || info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
  return stop_seen;
}

static int next_wait(const struct worker *worker) {
  if (worker->kill_at == 0 || worker->killed)
    return -1;
  const long long left = worker->kill_at - wire_now();
  return left > 0 ? (int)left : 0;
}

static int keep_serving(struct keeper *keeper, int listener, int signals) {
  struct worker worker = {0};

  for (;;) {
    struct pollfd entries[] = {
        {.fd = signals, .events = POLLIN},
        {.fd = worker.pid > 0 || worker.kill_at > 0 ? -1 : listener, .events = POLLIN}};
    int status;

    if (poll(entries, ARRAY_SIZE(entries), next_wait(&worker)) == 0 && worker.pid > 0)
      worker.killed = kill(worker.pid, SIGKILL) == 0;
    if (was_told_to_stop(signals))
      stop(&worker);
    if (worker.pid > 0 && waitpid(worker.pid, &status, WNOHANG) == worker.pid &&
        worker_ended(&worker, keeper, listener, status))
      return 0;
    if (worker.pid == 0 && worker.kill_at > 0)
      return 0;
    if (worker.short_lives >= SHORT_LIVES_MAX) {
      keeper_log("gives up: the worker failed three times in a row", NULL);
      return 1;
    }
    if (worker.pid == 0 && is_pending(listener))
      start(&worker, keeper, listener);
  }
}

int serve(struct keeper *keeper, int listener) {
  cleanup_close int signals = open_signals();

  if (signals < 0)
    return 1;
  const int status = keep_serving(keeper, listener, signals);
  if (is_ours(keeper)) {
    (void)unlink(keeper->socket);
    write_pid(keeper, false);
  }
  return status;
}
