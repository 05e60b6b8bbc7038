/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clean.h"
#include "hints.h"
#include "protocol.h"
#include "text.h"

/* What Debian's and Red Hat's login gives root; an image without PATH is an image that says nothing. */
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SHELL "/bin/sh"
/* As the kernel's BINPRM_BUF_SIZE. */
#define INTERPRETER_LINE_MAX 256
#define HINT_FILE                                                                                            \
  "files of the node are inside only where they are mounted; --container-mount-cwd mounts the working "      \
  "directory"

static bool is_elf(const char *path) {
  char magic[SELFMAG] = {0};
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

  return fd >= 0 && read(fd, magic, SELFMAG) == SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0;
}

/* The first word behind `#!` (execve(2)), without it an empty text. */
static void read_interpreter(const char *path, char *name, size_t size) {
  char head[INTERPRETER_LINE_MAX] = {0};
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, head, sizeof(head) - 1);

  name[0] = '\0';
  if (got < 2 || head[0] != '#' || head[1] != '!')
    return;
  char *from = head + 2 + strspn(head + 2, " \t");
  from[strcspn(from, " \t\n")] = '\0';
  (void)text_join(name, size, from, NULL);
}

/* It is there, and what should read it is not. */
static void explain_interpreter(const char *path, struct error *error) {
  char name[INTERPRETER_LINE_MAX];

  read_interpreter(path, name, sizeof(name));
  const size_t length = strlen(name);
  if (length == 0) {
    (void)text_join(error->text, sizeof(error->text), path, ": its dynamic loader is missing in the image",
                    NULL);
    (void)text_join(error->hint, sizeof(error->hint),
                    "use a program that was built for the C library of this image", NULL);
  } else if (name[length - 1] == '\r') {
    name[length - 1] = '\0';
    (void)text_join(error->text, sizeof(error->text), path, ": its lines end as on Windows, so that no ",
                    name, "\\r is found", NULL);
    (void)text_join(error->hint, sizeof(error->hint), "convert the file, for example with dos2unix", NULL);
  } else {
    (void)text_join(error->text, sizeof(error->text), path, ": its interpreter ", name,
                    " is missing in the image", NULL);
    (void)text_join(error->hint, sizeof(error->hint),
                    "name one that the image has in the first line (#!), or use an image that has ", name,
                    NULL);
  }
}

/* A text file without `#!`: execvp gives it to the shell (POSIX exec, ENOEXEC). */
static void run_by_shell(const char *path, char **argv, char **environment) {
  size_t count = 0;

  while (argv[count])
    count++;
  /* {sh, path, argv[1]…, NULL} */
  cleanup_free char **words = calloc(count + 2, sizeof(*words));
  if (!words)
    return;
  words[0] = (char *)SHELL;
  words[1] = (char *)path;
  for (size_t i = 1; i < count; i++)
    words[i + 1] = argv[i];
  (void)execve(SHELL, words, environment);
}

static void explain(const char *path, int number, struct error *error) {
  struct stat info;

  error_set(error, "BERTH_EEXEC", HINT_EEXEC, NULL);
  error->exit = BERTH_EXIT_NOT_EXECUTABLE;
  (void)text_join(error->text, sizeof(error->text), path, ": ", text_errno(number), NULL);
  if (number == ENOEXEC && is_elf(path)) {
    (void)text_join(error->text, sizeof(error->text), path, " is built for another processor", NULL);
    (void)text_join(error->hint, sizeof(error->hint), "use an image for this node's architecture", NULL);
  } else if (number == ENOEXEC) {
    (void)text_join(error->text, sizeof(error->text), path, " has no #! line and the image no " SHELL, NULL);
  } else if (number == ENOENT) {
    explain_interpreter(path, error);
  } else if (number == E2BIG) {
    (void)text_join(error->hint, sizeof(error->hint), "shorten the arguments or the environment", NULL);
  } else if (number == EACCES && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
    (void)text_join(error->text, sizeof(error->text), path, " is a directory", NULL);
  }
}

/* Returns the errno of the failure; ENOENT also for a file that exists but whose interpreter does not. */
static int try_path(const char *path, char **argv, char **environment) {
  (void)execve(path, argv, environment);
  const int number = errno;
  if (number == ENOEXEC && !is_elf(path))
    run_by_shell(path, argv, environment);
  return number;
}

static bool goes_on(const char *path, int number) {
  struct stat info;

  if (number == ENOENT || number == ENOTDIR)
    return stat(path, &info) < 0;
  return number == EACCES || number == ELOOP || number == ENAMETOOLONG;
}

/* slurmstepd would take a bare name that PATH has not from the working directory (_build_path of its task.c),
 * and scripts rely on it: `srun install.sh python …`. */
static bool run_here(char **argv, char **environment, struct error *error) {
  char path[PATH_MAX];

  if (!argv[0][0] || !text_join(path, sizeof(path), "./", argv[0], NULL) || access(path, F_OK) < 0)
    return false;
  explain(path, try_path(path, argv, environment), error);
  return true;
}

void command_run(char **argv, char **environment, struct error *error) {
  const char *search = text_variable(environment, "PATH");
  char path[PATH_MAX], denied[PATH_MAX] = "";

  if (strchr(argv[0], '/')) {
    const int number = try_path(argv[0], argv, environment);
    struct stat info;
    if ((number != ENOENT && number != ENOTDIR) || stat(argv[0], &info) == 0) {
      explain(argv[0], number, error);
      return;
    }
    search = NULL;
  } else {
    search = search ? search : PATH_DEFAULT;
  }
  for (const char *at = search; at && argv[0][0]; at = *at ? at + 1 : NULL) {
    const size_t length = strcspn(at, ":");
    char directory[PATH_MAX] = ".";
    if (length > 0 && length < sizeof(directory)) {
      memcpy(directory, at, length);
      directory[length] = '\0';
    }
    at += length;
    if (length >= sizeof(directory) || !text_join(path, sizeof(path), directory, "/", argv[0], NULL))
      continue;
    const int number = try_path(path, argv, environment);
    if (!goes_on(path, number)) {
      explain(path, number, error);
      return;
    }
    if (number == EACCES && denied[0] == '\0' && access(path, F_OK) == 0)
      memcpy(denied, path, sizeof(denied));
  }
  if (denied[0]) {
    explain(denied, EACCES, error);
    return;
  }
  if (search && run_here(argv, environment, error))
    return;
  error_set(error, "BERTH_ECOMMAND", search ? HINT_ECOMMAND : HINT_FILE, argv[0],
            ": not found in the container", search ? ", PATH=" : "", search ? search : "", NULL);
  error->exit = BERTH_EXIT_NOT_FOUND;
}
