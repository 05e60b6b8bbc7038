/* SPDX-License-Identifier: Apache-2.0 */
#include "srun.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "argv.h"
#include "check.h"
#include "clean.h"
#include "client.h"
#include "edf.h"
#include "expand.h"
#include "fail.h"
#include "given_options.h"
#include "hints.h"
#include "text.h"

extern char **environ;

static struct submit {
  struct settings settings;
  struct place place;
  /** srun, as opposed to sbatch and salloc. */
  bool local;
  /** What the environment says: the same for every component. */
  struct options inherited;
  /** The first component's options; the environment that carries them is the job's, so all must agree. */
  struct options options;
  unsigned int components;
  bool wanted;
  /** What is wrong with the installation; said only to who wants a container. */
  struct error error;
  struct check check;
} submit = {.check = {.connection = -1}};

/* Slurm reads its own carrier after init: without it, callbacks come from this command line alone. */
static void take_inherited(void) {
  char name[FLAG_VARIABLE_MAX];

  options_take_spank(&submit.inherited, environ, "SLURM_SPANK_");
  options_take_environment(&submit.inherited, environ, submit.settings.groups);
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    flag_variable(&flags[i], "SLURM_BERTH_", name);
    (void)unsetenv(name);
    flag_spank_variable(&flags[i], "SLURM_SPANK_", FLAG_PLUGIN, name);
    (void)unsetenv(name);
    flag_spank_variable(&flags[i], "SLURM_SPANK_", FLAG_PLUGIN_BEFORE, name);
    (void)unsetenv(name);
  }
  (void)unsetenv(ARGV0_VARIABLE);
  (void)unsetenv(REFUSED_VARIABLE);
}

static const char *context_name(void) {
  if (submit.local)
    return "srun";
  return strcmp(program_invocation_short_name, "salloc") == 0 ? "salloc" : "sbatch";
}

/* The shell that salloc starts is here; steps and scripts are told on their node. */
static void tell_place(void) {
  if (strcmp(context_name(), "salloc") == 0 && strcmp(submit.settings.runtime_dir, RUNTIME_DIR_DEFAULT) != 0)
    (void)setenv(RUNTIME_DIR_VARIABLE, submit.settings.runtime_dir, 0);
}

void srun_init(spank_t spank, int count, char **arguments) {
  settings_read(&submit.settings, count, arguments, &submit.error);
  submit.local = spank_context() == S_CTX_LOCAL;
  if (!submit.local && !submit.settings.sbatch)
    return;
  if (!place_find(&submit.place))
    error_set(&submit.error, "BERTH_EPLUGSTACK", "give berth.so by its absolute path in plugstack.conf",
              "the directory of berth.so cannot be found", NULL);
  take_inherited();
  tell_place();
  given_register_flags(spank, submit.settings.groups);
}

static void merge(struct options *merged) {
  options_take_all(merged, &submit.inherited, SOURCE_NONE);
  options_take_all(merged, given_options(), SOURCE_FLAG);
  given_reset();
  options_settle(merged);
}

/* The node's own variables reach it by themselves from sbatch and salloc, where a later step may change them.
 */
static bool is_carried(enum source source) {
  return submit.local ? source != SOURCE_NONE : source >= SOURCE_SPANK;
}

static bool is_said(const struct options *options, size_t flag) {
  return is_carried(options->values[flag].source) && !options_yields(options, flag);
}

/* False when there is no memory for one of them. */
static bool carry(const struct options *options) {
  char name[FLAG_VARIABLE_MAX];
  bool whole = true;

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!is_said(options, i))
      continue;
    flag_variable(&flags[i], "SLURM_BERTH_", name);
    whole = setenv(name, options->values[i].value, 1) == 0 && whole;
  }
  return whole;
}

/*
 * For the prolog, and for sbatch --export-file, which drops the environment. Before the job is made: later it
 * is of no use, and srun dies of it in a heterogeneous step (spank_set_job_env of 22.05 looks at no
 * component's options).
 */
static void carry_by_job(spank_t spank, const struct options *options) {
  char name[FLAG_VARIABLE_MAX];

  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (!is_said(options, i))
      continue;
    flag_spank_variable(&flags[i], "", FLAG_PLUGIN, name);
    (void)spank_job_control_setenv(spank, name, options->values[i].value, 1);
  }
}

static int check_components(const struct options *merged, bool wanted, struct error *error) {
  if (submit.components == 0 || options_equal(merged, &submit.options) || (!submit.local && !wanted))
    return 0;
  return error_set(error, "BERTH_EHETEROGENEOUS", HINT_EHETEROGENEOUS,
                   "the components of a heterogeneous job cannot have different --container options", NULL);
}

static int check_empty(const struct options *merged, struct error *error) {
  for (size_t i = 0; i < FLAG_COUNT; i++)
    /* GSI's users take a default image back by an empty one. */
    if (flags[i].selects && flags[i].group != FLAG_GSI && merged->values[i].source == SOURCE_FLAG &&
        merged->values[i].value[0] == '\0')
      return error_set(error, "BERTH_EOPTION", "give it a value, or leave the flag out", "--", flags[i].name,
                       ": argument required", NULL);
  return 0;
}

/* pyxis warns alike: the job goes on, its options may be meant for an image that is missing by mistake. */
static void warn_ignored(const struct options *merged) {
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (merged->values[i].source != SOURCE_FLAG || flags[i].selects)
      continue;
    cleanup_free char *line =
        text_new("berth: ignoring --", flags[i].name,
                 " because neither --container-image nor --container-name is set\n", NULL);
    if (line)
      text_write(STDERR_FILENO, line, strlen(line));
  }
}

static int check_component(spank_t spank, struct options *merged, struct error *error) {
  const bool wanted = options_want_container(merged);

  if (check_empty(merged, error) < 0)
    return -1;
  if (wanted && !merged->failed && edf_render(merged, &submit.settings, &submit.place, error) < 0)
    return -1;
  const size_t mounts = options_find("container-mounts", strlen("container-mounts"));
  if (is_carried(merged->values[mounts].source))
    expand_variables(merged, mounts, environ);
  if (options_check(merged, error) < 0)
    return -1;
  if (check_components(merged, wanted, error) < 0)
    return -1;
  if (submit.components++ > 0)
    return 0;
  if (!carry(merged))
    return fail_internal(error, "cannot hand the options to the step: ", text_errno(errno), NULL);
  carry_by_job(spank, merged);
  options_free(&submit.options);
  submit.options = *merged;
  *merged = (struct options){0};
  submit.wanted = wanted;
  if (!wanted) {
    if (submit.local && !options_value(&submit.options, "container-image"))
      warn_ignored(&submit.options);
    return 0;
  }
  if (error_is_set(&submit.error)) {
    *error = submit.error;
    return -1;
  }
  if (check_start(&submit.check, &submit.settings, context_name(), &submit.options, error) < 0)
    return -1;
  if (submit.local)
    return 0;
  if (submit.check.connection < 0)
    return check_by_command(&submit.settings, &submit.place, context_name(), &submit.options);
  if (check_finish(&submit.check, &submit.options, error) < 0)
    return -1;
  /* Without it the node reads the tag, which it has. */
  (void)carry(&submit.options);
  carry_by_job(spank, &submit.options);
  return 0;
}

/*
 * Slurm's commands end here when a required plugin refuses, with SLURM_EXIT_ERROR or 1, after two lines of
 * their own about the plugin. Ended by us, the mistake stands alone on the screen, and "optional" cannot run
 * it on the host. What is left of a code must not be success.
 */
static _Noreturn void end_command(void) {
  const char *wanted = getenv("SLURM_EXIT_ERROR");
  const long code = wanted ? strtol(wanted, NULL, 10) & 0xff : 0;

  exit(code > 0 ? (int)code : EXIT_FAILURE);
}

void srun_check(spank_t spank) {
  struct options merged = {0};
  struct error error = {0};

  if (!submit.local && !submit.settings.sbatch)
    return;
  merge(&merged);
  const int result = check_component(spank, &merged, &error);
  options_free(&merged);
  error_print(&error, STDERR_FILENO);
  if (result < 0)
    end_command();
}

/* The step is allocated: srun that fails here leaves it running for the controller, and its CPUs taken, until
 * the job ends (seen with 22.05). So it goes on, and the launcher ends the tasks. */
static void finish_check(void) {
  struct error error = {0};

  if (check_finish(&submit.check, &submit.options, &error) < 0) {
    error_print(&error, STDERR_FILENO);
    (void)setenv(REFUSED_VARIABLE, "1", 1);
  }
  (void)carry(&submit.options);
}

/* Components of a heterogeneous step come in threads of their own: the first one asks, the others wait for
 * it. */
int srun_launch(spank_t spank) {
  static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
  static unsigned int launched;
  struct error error = {0};

  if (!submit.wanted)
    return 0;
  (void)pthread_mutex_lock(&turn);
  if (launched == 0)
    finish_check();
  const int put = argv_put_launcher_local(spank, submit.place.launcher, launched++, &error);
  (void)pthread_mutex_unlock(&turn);
  error_print(&error, STDERR_FILENO);
  return put;
}

int srun_exit(void) {
  check_close(&submit.check);
  options_free(&submit.inherited);
  options_free(&submit.options);
  given_reset();
  return 0;
}
