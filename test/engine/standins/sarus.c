/* SPDX-License-Identifier: Apache-2.0
 *
 * Stand-in for CSCS' sarus, which Debian does not have: setuid root, made so by the test for the one user
 * given as USER, with the store in the directory STORE. It takes what sarus 1.6 documents, refuses everything
 * else by exit code 2 and the offending word, and then does as the real one does: an archive is taken by
 * skopeo and umoci without privileges; a container is an overlay on the image, run by a child.
 */
#include "setuid.h"

#include <signal.h>
#include <sys/wait.h>

#define LOADED "load/library/"

static const char *source, *destination, *workdir = "/";

/* Several nodes may share a store. */
static const char load[] =
    "set -e; exec 9>\"$2/lock\"; flock 9\n"
    "skopeo --insecure-policy copy -q docker-archive:\"$1\" oci:\"$2/oci.$$\":x\n"
    "umoci raw unpack --rootless --image \"$2/oci.$$\":x \"$2/new.$$\" >/dev/null 2>&1\n"
    "[ -d \"$2/rootfs\" ] || mv -T \"$2/new.$$\" \"$2/rootfs\"\n"
    "echo \"$3\" >\"$2/name.$$\"; mv \"$2/name.$$\" \"$2/name\"";

static void split_reference(const char *reference, char *repository, char *tag) {
  const char *colon = strrchr(reference, ':');

  (void)snprintf(repository, NAME_MAX, "%.*s", colon ? (int)(colon - reference) : NAME_MAX, reference);
  (void)snprintf(tag, NAME_MAX, "%s", colon ? colon + 1 : "latest");
}

static int load_archive(int count, char **words) {
  if (count > 0 && value_of(words[0], "--temp-dir")) {
    must(access(value_of(words[0], "--temp-dir"), W_OK) == 0, words[0]);
    count--, words++;
  }
  if (count != 2 || words[0][0] == '-' || words[1][0] == '-')
    refuse("sarus", count > 0 ? words[0] : "load");
  must(setresuid(USER, USER, USER) == 0, "identity");
  (void)execl("/bin/sh", "sh", "-c", load, "load", words[0], STORE, words[1], NULL);
  return 1;
}

/* The one image that was loaded, if any. */
static bool loaded(char *name, int size) {
  FILE *file = fopen(STORE "/name", "r");
  const bool found = file != NULL && fgets(name, size, file) != NULL;

  if (file != NULL)
    (void)fclose(file);
  if (found)
    name[strcspn(name, "\n")] = '\0';
  return found;
}

static int list_images(void) {
  char name[NAME_MAX], repository[NAME_MAX], tag[NAME_MAX];

  puts("REPOSITORY                 TAG          IMAGE ID       CREATED               SIZE         SERVER");
  if (!loaded(name, sizeof(name)))
    return 0;
  split_reference(name, repository, tag);
  printf(LOADED "%s   %-10s   6bdd078207bd   2024-01-31T15:08:56   4.00KB       load\n", repository, tag);
  return 0;
}

static void take_mount(char *fields) {
  const char *value;

  for (char *rest, *field = strtok_r(fields, ",", &rest); field; field = strtok_r(NULL, ",", &rest)) {
    if ((value = value_of(field, "source")) && *value == '/')
      source = value;
    else if ((value = value_of(field, "destination")) && *value == '/')
      destination = value;
    else if (strcmp(field, "type=bind") != 0)
      refuse("sarus", field);
  }
  errno = EPERM;
  for (const char *const *barred = (const char *const[]){"/etc", "/var", "/opt/sarus", NULL}; *barred;
       barred++)
    must(destination && strncmp(destination, *barred, strlen(*barred)) != 0, *barred);
}

static void take(char *word) {
  const char *value;

  if ((value = value_of(word, "--workdir")) && *value == '/')
    workdir = value;
  else if ((value = value_of(word, "--mount")))
    take_mount((char *)value);
  else if ((value = value_of(word, "--env")) && strchr(value, '='))
    must(putenv((char *)value) == 0, value);
  else if (strcmp(word, "--mpi") == 0)
    must(setenv("STANDIN_HOOKS", "mpi", 1) == 0, word);
  else if (strcmp(word, "--pid=host") != 0)
    refuse("sarus", word);
}

static void build(void) {
  start_root();
  must(mkdir(UDI "/upper", 0755) == 0 && mkdir(UDI "/work", 0755) == 0 && mkdir(UDI "/rootfs", 0755) == 0,
       UDI);
  must(mount("overlay", UDI "/rootfs", "overlay", 0,
             "lowerdir=" STORE "/rootfs,upperdir=" UDI "/upper,workdir=" UDI "/work") == 0,
       "overlay");
  must(mount(UDI "/rootfs", UDI, NULL, MS_BIND, NULL) == 0, UDI);
  bind_host_trees();
  if (source != NULL)
    bind_in(source, destination + 1, MS_REC);
}

/* As runc below sarus: the engine itself stays root's. */
static int contain(char **command) {
  int status;
  const pid_t child = fork();

  must(child >= 0, "fork");
  if (child == 0) {
    must(prctl(PR_SET_PDEATHSIG, SIGHUP) == 0, "parent");
    become_user(UDI, workdir);
    (void)execvp(command[0], command);
    perror(command[0]);
    _exit(1);
  }
  must(waitpid(child, &status, 0) == child, "wait");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(char **words) {
  char name[NAME_MAX];

  for (; *words && **words == '-'; words++)
    take(*words);
  errno = ENOENT;
  must(*words && strncmp(*words, LOADED, strlen(LOADED)) == 0 && loaded(name, sizeof(name)) &&
           strcmp(*words + strlen(LOADED), name) == 0,
       "image");
  must(words[1] != NULL, "command");
  build();
  return contain(words + 1);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    puts("1.6.4");
    return 0;
  }
  if (getuid() != USER)
    return 1;
  if (argc == 2 && strcmp(argv[1], "images") == 0)
    return list_images();
  if (argc > 2 && strcmp(argv[1], "load") == 0)
    return load_archive(argc - 2, argv + 2);
  if (argc > 2 && strcmp(argv[1], "run") == 0)
    return run(argv + 2);
  refuse("sarus", argc > 1 ? argv[1] : "(nothing)");
}
