/* SPDX-License-Identifier: Apache-2.0 */
#include "stepd.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "argv.h"
#include "clean.h"
#include "client.h"
#include "fail.h"
#include "given_options.h"
#include "hints.h"
#include "place.h"
#include "text.h"

/* slurm.h: the steps that are no srun. */
#define STEP_EXTERN 0xfffffffcu
#define STEP_BATCH 0xfffffffbu
#define STEP_INTERACTIVE 0xfffffffau

/* The worker answers from memory, but may just be starting: node took longer than five seconds on a node
 * where every processor had eight others to run. SIGKILL is not blocked meanwhile. */
#define TASK_ACK_MS_MAX 30000
/* 128 bits tie a TASK to its REGISTER. */
#define HANDLE_BYTES 16

static struct step {
  struct settings settings;
  struct place place;
  struct options options;
  /** The step runs in a container. */
  bool wanted;
  /** srun has told the user why the step cannot run. */
  bool refused;
  /** Remembered until task_init, the first hook that may report it. */
  struct error error;
  /** The failure concerns this task alone (in the task's own process). */
  bool task_failed;
  /** Its end of file releases the step on the worker's side. */
  int lease;
  uint8_t handle[HANDLE_BYTES];
  uint32_t tasks_running;
} step = {.lease = -1};

void stepd_init(spank_t spank, int count, char **arguments) {
  settings_read(&step.settings, count, arguments, &step.error);
  if (!place_find(&step.place))
    error_set(&step.error, "BERTH_EPLUGSTACK", "give berth.so by its absolute path in plugstack.conf",
              "the directory of berth.so cannot be found", NULL);
  given_register_flags(spank, step.settings.groups);
}

static uint32_t word_item(spank_t spank, spank_item_t item) {
  uint32_t value = 0;
  return spank_get_item(spank, item, &value) == ESPANK_SUCCESS ? value : 0;
}

static char **job_environment(spank_t spank) {
  char **environment = NULL;
  return spank_get_item(spank, S_JOB_ENV, &environment) == ESPANK_SUCCESS ? environment : NULL;
}

static void collect(spank_t spank) {
  char **environment = job_environment(spank);

  options_take_all(&step.options, given_options(), SOURCE_SPANK);
  /* Batch steps of 22.05 with --export=NONE get no callback, only this variable. */
  options_take_spank(&step.options, environment, "SLURM_SPANK_");
  options_take_environment(&step.options, environment, step.settings.groups);
  options_settle(&step.options);
  (void)options_check(&step.options, &step.error);
  given_reset();
}

static const char *context_of(uint32_t id) {
  return id == STEP_BATCH ? "batch" : id == STEP_INTERACTIVE ? "interactive" : "step";
}

static void add_groups(spank_t spank, struct frame_out *frame) {
  gid_t *gids = NULL;
  int count = 0;

  if (spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &gids, &count) == ESPANK_SUCCESS && gids && count > 0)
    frame_add_words(frame, BERTH_TAG_GIDS, gids, (size_t)count);
}

static void build_register(spank_t spank, struct frame_out *frame) {
  const uint32_t id = word_item(spank, S_JOB_STEPID);
  char **argv = NULL;
  int argc = 0;

  frame_start(frame, BERTH_REGISTER);
  frame_add(frame, BERTH_TAG_HANDLE, step.handle, HANDLE_BYTES);
  frame_add_word(frame, BERTH_TAG_JOB, word_item(spank, S_JOB_ID));
  frame_add_word(frame, BERTH_TAG_STEP, id);
  frame_add_word(frame, BERTH_TAG_UID, word_item(spank, S_JOB_UID));
  frame_add_word(frame, BERTH_TAG_GID, word_item(spank, S_JOB_GID));
  add_groups(spank, frame);
  frame_add_word(frame, BERTH_TAG_NODE, word_item(spank, S_JOB_NODEID));
  frame_add_word(frame, BERTH_TAG_LOCAL_TASKS, step.tasks_running);
  frame_add_word(frame, BERTH_TAG_TOTAL_TASKS, word_item(spank, S_JOB_TOTAL_TASK_COUNT));
  frame_add_word(frame, BERTH_TAG_RESTART, word_item(spank, S_SLURM_RESTART_COUNT));
  frame_add_text(frame, BERTH_TAG_CONTEXT, context_of(id));
  if (id == STEP_BATCH && spank_get_item(spank, S_JOB_ARGV, &argc, &argv) == ESPANK_SUCCESS && argc > 0)
    frame_add_text(frame, BERTH_TAG_SCRIPT, argv[0]);
  options_add_to(&step.options, frame);
  frame_add_environment(frame, job_environment(spank));
}

/* `srun enroot import …` is the first step of many, and the worker rests while nobody has a container. */
static void wake_worker(spank_t spank) {
  struct error unheard = {0};
  char **argv = NULL;
  int argc = 0;

  if (spank_get_item(spank, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1 || !argv[0])
    return;
  const char *command = text_base(argv[0]);
  if (strcmp(command, "enroot") == 0 || strcmp(command, "berth") == 0) {
    cleanup_close int woken = client_connect(&step.settings, &step.place, &unheard);
    (void)woken;
  }
}

int stepd_register(spank_t spank) {
  cleanup_frame_out struct frame_out frame = {0};

  if (word_item(spank, S_JOB_STEPID) == STEP_EXTERN)
    return 0;
  collect(spank);
  step.wanted = options_want_container(&step.options);
  step.refused = text_variable(job_environment(spank), REFUSED_VARIABLE) != NULL;
  if (!step.wanted && !error_is_set(&step.error))
    wake_worker(spank);
  if (!step.wanted || step.refused || error_is_set(&step.error))
    return 0;
  step.tasks_running = word_item(spank, S_JOB_LOCAL_TASK_COUNT);
  if (getrandom(step.handle, HANDLE_BYTES, 0) != HANDLE_BYTES) {
    fail_internal(&step.error, "no random bytes: ", text_errno(errno), NULL);
    return 0;
  }
  build_register(spank, &frame);
  if (!frame_finish(&frame)) {
    error_set(&step.error, "BERTH_EENVIRONMENT", HINT_EENVIRONMENT,
              "the environment of the job is larger than 1 MiB", NULL);
    return 0;
  }
  step.lease = client_connect(&step.settings, &step.place, &step.error);
  if (step.lease >= 0)
    (void)client_send(step.lease, &frame, NULL, 0, &step.error);
  return 0;
}

static void build_task(spank_t spank, struct frame_out *frame) {
  cleanup_free char *cwd = getcwd(NULL, 0);

  frame_start(frame, BERTH_TASK);
  frame_add(frame, BERTH_TAG_HANDLE, step.handle, HANDLE_BYTES);
  frame_add_word(frame, BERTH_TAG_LOCAL_ID, word_item(spank, S_TASK_ID));
  frame_add_word(frame, BERTH_TAG_GLOBAL_ID, word_item(spank, S_TASK_GLOBAL_ID));
  /* S_TASK_PID is not set yet in the child. */
  frame_add_word(frame, BERTH_TAG_PID, (uint32_t)getpid());
  frame_add_text(frame, BERTH_TAG_CWD, cwd ? cwd : "/");
  (void)frame_finish(frame);
}

static void announce(spank_t spank) {
  cleanup_close int connection = client_connect(&step.settings, &step.place, &step.error);
  cleanup_close int mount_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  cleanup_close int user_ns = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
  cleanup_frame_out struct frame_out frame = {0};
  cleanup_frame_in struct frame_in answer = {0};
  const int fds[] = {mount_ns, user_ns};

  if (connection < 0)
    return;
  if (mount_ns < 0 || user_ns < 0) {
    fail_internal(&step.error, "cannot open /proc/self/ns: ", text_errno(errno), NULL);
    return;
  }
  build_task(spank, &frame);
  if (client_send(connection, &frame, fds, ARRAY_SIZE(fds), &step.error) == 0)
    (void)client_receive(connection, &answer, TASK_ACK_MS_MAX, &step.error);
}

int stepd_announce(spank_t spank) {
  if (!step.wanted)
    return 0;
  /* The lease is the parent's: a copy here would keep the step registered beyond it. */
  clean_close(&step.lease);
  step.lease = -1;
  if (!step.refused && !error_is_set(&step.error)) {
    announce(spank);
    step.task_failed = error_is_set(&step.error);
  }
  return 0;
}

static int is_linuxproc(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size;
  (void)unused;
  return info->dlpi_name && strstr(info->dlpi_name, "proctrack_linuxproc.so") != NULL;
}

/* Slurm does not tell plugins its ProctrackType, but this process has loaded it. */
static bool signals_reach_all(void) { return dl_iterate_phdr(is_linuxproc, NULL) != 0; }

static void set_launch(spank_t spank) {
  char path[PATH_MAX];

  if (argv_put_launcher(spank, job_environment(spank), step.place.launcher, &step.error) < 0)
    return;
  if (!client_socket(&step.settings, path) || spank_setenv(spank, "BERTH_SOCKET", path, 1) != ESPANK_SUCCESS)
    fail_internal(&step.error, "cannot set BERTH_SOCKET for the task", NULL);
  if (signals_reach_all())
    (void)spank_setenv(spank, SIGNALS_VARIABLE, SIGNALS_REACH_ALL, 1);
}

/* For a step on the host, as scripts run `srun enroot list`; a container does not see the worker. */
static void tell_place(spank_t spank) {
  if (strcmp(step.settings.runtime_dir, RUNTIME_DIR_DEFAULT) != 0)
    (void)spank_setenv(spank, RUNTIME_DIR_VARIABLE, step.settings.runtime_dir, 1);
}

void stepd_prepare(spank_t spank) {
  if (!step.wanted) {
    tell_place(spank);
    return;
  }
  if (!error_is_set(&step.error))
    set_launch(spank);
  if (!error_is_set(&step.error))
    return;
  /* stderr is the task's own already. What concerns the whole step is said once a node. */
  if (step.task_failed || word_item(spank, S_TASK_ID) == 0)
    error_print(&step.error, STDERR_FILENO);
  /* This process would become the task. Refused by -1 it ends as well, with 1 and after two lines about the
   * plugin. */
  _exit(step.error.exit);
}

/* No answer is awaited: what is to be saved is saved, the launchers have waited for it. A worker that is gone
 * reads the lease's end of file. */
static int release(void) {
  struct error unheard = {0};
  cleanup_frame_out struct frame_out frame = {0};

  frame_start(&frame, BERTH_RELEASE);
  if (frame_finish(&frame))
    (void)client_send(step.lease, &frame, NULL, 0, &unheard);
  return 0;
}

int stepd_task_ended(spank_t spank) {
  (void)spank;
  if (step.lease < 0 || step.tasks_running == 0 || --step.tasks_running > 0)
    return 0;
  return release();
}

int stepd_exit(void) {
  clean_close(&step.lease);
  step.lease = -1;
  options_free(&step.options);
  return 0;
}
