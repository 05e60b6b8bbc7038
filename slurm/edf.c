/* SPDX-License-Identifier: Apache-2.0 */
#include "edf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "clean.h"
#include "hints.h"
#include "text.h"

/* Starting node on a loaded login node, and reading a few files from a slow home. */
#define RENDER_MS_MAX 10000
/* EDF_BYTES_MAX of src/request/edf.ts, a newline, and one byte to see that it was passed. */
#define RENDERED_BYTES_MAX ((120u << 10) + 3)
#define NONE "none"
/* node, script, edf, --render, --config, --system-path, --, name, end. */
#define WORDS_MAX 9
#define SEARCH_PATH "edf_system_search_path="

extern char **environ;

static bool is_name(const char *value) {
  return value && value[0] != '\0' && value[0] != '{' && strcmp(value, NONE) != 0;
}

static int refuse(const char *name, const char *problem, struct error *error) {
  return error_set(error, "BERTH_EEDF", "try `berth edf NAME` here; ask the operators where berth is missing",
                   "environment ", name, " cannot be rendered: ", problem, NULL);
}

/* The site's directories may stand on the plugstack line, which only we see. */
static const char *search_path(const struct settings *settings) {
  for (size_t i = 0; i < settings->more_count; i++)
    if (text_starts(settings->more[i], SEARCH_PATH))
      return settings->more[i] + strlen(SEARCH_PATH);
  return NULL;
}

static int run(const char *name, const struct settings *settings, const struct place *place, char *rendered,
               struct error *error) {
  const char *node = settings->node ? settings->node : place->node;
  const char *path = search_path(settings);
  cleanup_free char *config = text_new("--config=", settings->config, NULL);
  cleanup_free char *folders = text_new("--system-path=", path ? path : "", NULL);
  const char *argv[WORDS_MAX] = {node, place->cli, "edf", "--render", config};
  size_t count = 5;

  if (!config || !folders)
    return refuse(name, "no memory", error);
  if (path)
    argv[count++] = folders;
  argv[count++] = "--";
  argv[count] = name;
  if (access(node, X_OK) < 0 || access(place->cli, R_OK) < 0)
    return refuse(name, "berth's command line is not on this host", error);
  const int status = child_read(argv, environ, RENDER_MS_MAX, rendered, RENDERED_BYTES_MAX);
  if (status == CHILD_TIMED_OUT)
    return refuse(name, "no answer within 10 s", error);
  if (status < 0 || status > 2)
    return refuse(name, "berth's command line does not run on this host", error);
  /* It has said why. */
  if (status != 0)
    return -1;
  rendered[strcspn(rendered, "\n")] = '\0';
  return rendered[0] == '{' ? 0 : refuse(name, "berth's command line gave no answer", error);
}

int edf_render(struct options *options, const struct settings *settings, const struct place *place,
               struct error *error) {
  const size_t alias = options_find("edf", strlen("edf"));
  const size_t named = options_find("environment", strlen("environment"));
  const enum source source = options->values[named].source, alias_source = options->values[alias].source;

  if (source == SOURCE_FLAG && alias_source == SOURCE_FLAG)
    return error_set(error, "BERTH_ECONFLICT", HINT_ECONFLICT, "both --environment and --edf were specified",
                     NULL);
  /* Of two that are equally strong, which only variables can be, ours counts. */
  const size_t given = source != SOURCE_NONE ? named : alias;
  if (!is_name(options->values[given].value))
    return 0;

  cleanup_free char *rendered = malloc(RENDERED_BYTES_MAX);
  const enum source strength = options->values[given].source;
  cleanup_free char *name = strdup(options->values[given].value);
  if (!rendered || !name)
    return refuse("file", "no memory", error);
  if (run(name, settings, place, rendered, error) < 0)
    return -1;
  options_drop(options, named);
  options_drop(options, alias);
  /* Carried even when a variable named it: the node must not look for the file again. */
  options_take(options, alias, rendered, strength > SOURCE_INHERITED ? strength : SOURCE_INHERITED);
  return 0;
}
