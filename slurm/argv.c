/* SPDX-License-Identifier: Apache-2.0 */
#include "argv.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "component.h"
#include "fail.h"
#include "hints.h"
#include "multi_prog.h"
#include "place.h"
#include "text.h"

/* Longer command lines than the kernel takes cannot have started srun. */
#define COMMAND_LINE_MAX (2u << 20)
/* slurm.h. */
#define STEP_BATCH 0xfffffffbu

typedef spank_err_t (*prepend_f)(spank_t spank, int argc, const char *argv[]);

/* Since Slurm 23.11; looked up, because one plugin file serves older ones too. */
static prepend_f find_prepend(void) {
  void *symbol = dlsym(RTLD_DEFAULT, "spank_prepend_task_argv");
  prepend_f prepend = NULL;

  memcpy(&prepend, &symbol, sizeof(prepend));
  return prepend;
}

/* Slurm may free the word with its own xfree, which aborts on foreign memory. */
static char *slurm_copy(const char *word) {
  void *symbol = dlsym(RTLD_DEFAULT, "slurm_xstrdup");
  char *(*copy)(const char *) = strdup;

  if (symbol)
    memcpy(&copy, &symbol, sizeof(copy));
  return copy(word);
}

static int cannot_replace(const char *command, struct error *error) {
  return fail_internal(error, "cannot put the launcher before ", command, NULL);
}

#if defined(__GNUC__) && !defined(__clang__)
/* gcc 12 does not see that Slurm's array keeps the word. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static int exchange_first(char **argv, const char *launcher, unsigned int component, struct error *error) {
  char path[PATH_MAX];
  char *copy = component_path(launcher, component, path) ? slurm_copy(path) : NULL;

  if (!copy)
    return cannot_replace(argv[0], error);
  argv[0] = copy;
  return 0;
}

static int refuse_multi_prog(struct error *error) {
  return error_set(
      error, "BERTH_EMULTIPROG", HINT_EMULTIPROG,
      "a step with --multi-prog that was submitted without the plugin needs Slurm 23.11 or later", NULL);
}

/* A batch script's own arguments may look like anything. */
static bool is_batch(spank_t spank) {
  uint32_t id = 0;
  return spank_get_item(spank, S_JOB_STEPID, &id) == ESPANK_SUCCESS && id == STEP_BATCH;
}

int argv_put_launcher(spank_t spank, char *const *environment, const char *launcher, struct error *error) {
  const prepend_f prepend = find_prepend();
  char **argv = NULL;
  int argc = 0;

  if (spank_get_item(spank, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1 || !argv || !argv[0])
    return fail_internal(error, "Slurm does not tell the command of the task", NULL);

  const unsigned int component = component_of(argv[0]);
  char variable[COMPONENT_VARIABLE_MAX];
  component_variable(component, variable);
  const bool replaced =
      strcmp(text_base(argv[0]), LAUNCHER_NAME) == 0 && text_variable(environment, variable);
  const bool multiple = !replaced && argc >= 2 && argv[1] && !is_batch(spank) && multi_prog_is_text(argv[1]);
  if (multiple && multi_prog_has_launcher(argv[1])) {
    (void)spank_unsetenv(spank, ARGV0_VARIABLE);
    return 0;
  }
  if (!replaced && prepend) {
    const char *first[] = {launcher, NULL};
    (void)spank_unsetenv(spank, ARGV0_VARIABLE);
    return prepend(spank, 1, first) == ESPANK_SUCCESS ? 0 : cannot_replace(argv[0], error);
  }
  /* Slurm hands such a step over as {file name, file text, …}, and the tasks' real commands are out of reach.
   */
  if (multiple)
    return refuse_multi_prog(error);
  if (!replaced && spank_setenv(spank, ARGV0_VARIABLE, argv[0], 1) != ESPANK_SUCCESS)
    return cannot_replace(argv[0], error);
  return exchange_first(argv, launcher, replaced ? component : 0, error);
}

static long read_command_line(char *line) {
  return line ? text_read_file("/proc/self/cmdline", line, COMMAND_LINE_MAX) : -1;
}

/* True when the word is one of this process's own command line. */
static bool was_typed(const char *word) {
  cleanup_free char *line = malloc(COMMAND_LINE_MAX);
  const size_t length = strlen(word) + 1;
  const long size = read_command_line(line);
  if (size <= 0)
    return true;
  for (size_t at = 0; at + length <= (size_t)size; at += strlen(line + at) + 1)
    if (memcmp(line + at, word, length) == 0)
      return true;
  return false;
}

/* argv is {file name, file text, …}. */
static int put_launcher_in_text(char **argv, const char *launcher, struct error *error) {
  cleanup_free char *text = multi_prog_with_launcher(argv[1], launcher);
  char *copy = text ? slurm_copy(text) : NULL;

  if (!copy)
    return cannot_replace(argv[0], error);
  argv[1] = copy;
  return 0;
}

int argv_put_launcher_local(spank_t spank, const char *launcher, unsigned int component,
                            struct error *error) {
  char variable[COMPONENT_VARIABLE_MAX];
  char **argv = NULL;
  int argc = 0;

  if (spank_get_item(spank, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1 || !argv || !argv[0])
    return fail_internal(error, "Slurm does not tell the command of the step", NULL);
  /* --multi-prog: the second argument is the text of the file, which nobody typed; further ones may follow.
   */
  if (argc >= 2 && argv[1] && !was_typed(argv[1]))
    return find_prepend() ? 0 : put_launcher_in_text(argv, launcher, error);

  component_variable(component, variable);
  if (setenv(variable, argv[0], 1) < 0)
    return cannot_replace(argv[0], error);
  return exchange_first(argv, launcher, component, error);
}
