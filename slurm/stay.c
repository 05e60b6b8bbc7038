/* SPDX-License-Identifier: Apache-2.0 */
#include "stay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clean.h"
#include "fail.h"
#include "join.h"
#include "seat.h"
#include "text.h"
#include "wire.h"

#define SEND_MS_MAX 5000
/* The worker says something every few seconds while it saves, however large the container is. */
#define SILENCE_MS_MAX (15 * 60 * 1000)
#define HINT_AGAIN "the file that was there is unchanged; run the step again"

bool stay_is_asked(const struct frame_in *frame) {
  uint32_t flags = 0;

  return frame_word(frame, BERTH_TAG_FLAGS, &flags) && (flags & BERTH_FLAG_STAY) != 0;
}

/* What the command gave up must be seen as closed by the other side: output, PMI. */
static void close_others(const int *kept, size_t count) {
  unsigned int from = STDERR_FILENO + 1;

  (void)close(STDIN_FILENO);
  (void)close(STDOUT_FILENO);
  for (;;) {
    int next = -1;
    for (size_t i = 0; i < count; i++)
      if (kept[i] >= (int)from && (next < 0 || kept[i] < next))
        next = kept[i];
    if (next > (int)from)
      close_between(from, (unsigned int)next - 1);
    if (next < 0)
      break;
    from = (unsigned int)next + 1;
  }
  close_all_from(from);
}

static bool tell_end(int connection, int status, struct frame_in *answer) {
  cleanup_frame_out struct frame_out frame = {0};

  frame_start(&frame, BERTH_ENDED);
  frame_add_word(&frame, BERTH_TAG_EXIT, (uint32_t)status);
  if (!frame_finish(&frame) || wire_send(connection, &frame, NULL, 0, SEND_MS_MAX) < 0)
    return false;
  for (;;) {
    struct field field;
    if (wire_receive(connection, answer, SILENCE_MS_MAX) != 1)
      return false;
    if (answer->type != BERTH_PROGRESS)
      return true;
    if (frame_find(answer, BERTH_TAG_TEXT, &field))
      text_write(STDERR_FILENO, (const char *)field.bytes, field.length);
    frame_in_free(answer);
    memset(answer, 0, sizeof(*answer));
  }
}

/* One task of the node speaks for all where the worker cannot choose one. */
static bool is_speaker(void) {
  const char *local = getenv("SLURM_LOCALID");
  return !local || strcmp(local, "0") == 0;
}

static void hear(int connection, int status, struct error *error) {
  cleanup_frame_in struct frame_in answer = {0};

  if (!tell_end(connection, status, &answer))
    error_set(error, "BERTH_ESAVE", HINT_AGAIN,
              is_speaker() ? "the container was not saved: the worker went away" : "", NULL);
  else if (answer.type != BERTH_ACK)
    fail_take(&answer, error);
}

/* Slurm and scripts see the same end as without a launcher that stays; the core file was written once. */
static void die_by(int number) {
  const struct rlimit none = {0, 0};
  sigset_t only;

  (void)setrlimit(RLIMIT_CORE, &none);
  (void)signal(number, SIG_DFL);
  sigemptyset(&only);
  sigaddset(&only, number);
  (void)sigprocmask(SIG_UNBLOCK, &only, NULL);
  (void)raise(number);
}

/* Closed by exec; a byte in it says that there was none. */
static int not_started = -1;

bool stay_is_child(void) { return not_started >= 0; }

void stay_failed(void) {
  if (stay_is_child())
    (void)!write(not_started, "", 1);
}

int stay_with(pid_t parent, struct error *error) {
  struct pollfd listener = {.fd = not_started};

  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
    return fail_node(error, "BERTH_EJOIN", "prctl: ", text_errno(errno), NULL);
  /* From another pid namespace the parent has no number; it holds the only end of the pipe that is read. */
  const bool alone =
      stay_is_child() ? poll(&listener, 1, 0) > 0 && (listener.revents & POLLERR) : getppid() != parent;
  return alone ? error_set(error, "BERTH_EJOIN", "run it again", "`berth run` has ended", NULL) : 0;
}

static bool has_started(int reading) {
  char failed = 0;
  ssize_t got;

  do
    got = read(reading, &failed, 1);
  while (got < 0 && errno == EINTR);
  return got == 0;
}

static pid_t start(const struct seat *seat, const sigset_t *signals, int connection, const int ends[2]) {
  const pid_t child = fork();

  if (child != 0)
    return child;
  seat_take(seat);
  (void)sigprocmask(SIG_SETMASK, signals, NULL);
  (void)close(connection);
  (void)close(ends[0]);
  not_started = ends[1];
  return 0;
}

/* ENOMEM: what a pid namespace without its first process says (pid_namespaces(7)). */
static bool cannot_start(const char *call, struct error *error) {
  fail_node(error, "BERTH_EJOIN", "cannot start the command: ", call, ": ",
            errno == ENOMEM ? "the container has ended" : text_errno(errno), NULL);
  return false;
}

bool stay(const struct frame_in *frame, int connection, int witness, int *status, struct error *error) {
  const bool saves = stay_is_asked(frame);
  sigset_t before;
  struct seat seat = {.witness = witness};
  int ends[2] = {-1, -1};

  if (getenv("BERTH_TICKET") && stay_with(getppid(), error) < 0)
    return false;
  if (pipe2(ends, O_CLOEXEC) < 0)
    return cannot_start("pipe", error);
  seat_prepare(&seat, join_has_pids(frame), &before);
  const pid_t child = start(&seat, &before, connection, ends);
  if (child == 0)
    return true;
  const int reading = ends[0];
  (void)close(ends[1]);
  if (child < 0)
    return cannot_start("fork", error);
  const bool started = has_started(reading);
  const int kept[] = {saves ? connection : -1, join_lease(frame), witness};
  close_others(kept, ARRAY_SIZE(kept));
  const int ended = seat_attend(&seat, child);
  if (started && saves)
    hear(connection, ended, error);
  const bool killed = WIFSIGNALED(ended);
  *status = killed ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
  if (error_is_set(error) && *status != 0)
    error->exit = *status;
  if (!killed)
    return false;
  error_print(error, STDERR_FILENO);
  die_by(WTERMSIG(ended));
  return false;
}
