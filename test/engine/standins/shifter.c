/* SPDX-License-Identifier: Apache-2.0
 *
 * Stand-in for NERSC's shifter, which Debian does not have: setuid root, made so by the test for the one user
 * given as USER. It takes what shifter documents, refuses everything else by exit code 2 and the offending
 * word, and then builds its root as the real one does: a tmpfs into which the directories of the image are
 * bound.
 */
#include "setuid.h"

#include <dirent.h>

static const char *image, *workdir = "/", *modules = "";

static void take(char *word) {
  const char *value;

  if ((value = value_of(word, "--image")) && strncmp(value, "local:/", 7) == 0)
    image = value + 6;
  else if ((value = value_of(word, "--workdir")))
    workdir = value;
  else if ((value = value_of(word, "--module")))
    modules = value;
  else if ((value = value_of(word, "--env")) && strchr(value, '='))
    must(putenv((char *)value) == 0, value);
  else
    refuse("shifter", word);
}

static void bind_image(void) {
  DIR *all = opendir(image);
  char from[PATH_MAX];

  must(all != NULL, image);
  for (const struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.')
      continue;
    (void)snprintf(from, sizeof(from), "%s/%s", image, entry->d_name);
    bind_in(from, entry->d_name, 0);
  }
  (void)closedir(all);
}

static void build(void) {
  start_root();
  bind_host_trees();
  bind_image();
  must(mount(NULL, UDI, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0, "read-only root");
}

int main(int argc, char **argv) {
  int first = 1;

  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    puts("Usage:\n    shifter [options] -- <command>");
    return 0;
  }
  if (getuid() != USER)
    return 1;
  for (; first < argc && argv[first][0] == '-'; first++)
    take(argv[first]);
  errno = EINVAL;
  must(image != NULL && first < argc, "image or command");
  build();
  become_user(UDI, workdir);
  must(setenv("SHIFTER_RUNTIME", "1", 1) == 0, "variable");
  must(*modules == '\0' || setenv("STANDIN_MODULES", modules, 1) == 0, "variable");
  (void)execvp(argv[first], argv + first);
  perror(argv[first]);
  return 127;
}
