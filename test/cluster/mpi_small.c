// SPDX-License-Identifier: Apache-2.0
/* Calls of MPI only what every ABI has with the same arguments, and tells which library answers from where.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int MPI_Init(int *count, char ***arguments);
int MPI_Get_library_version(char *text, int *length);
int MPI_Finalize(void);
#ifdef NEWER
int MPI_Abi_get_version(int *major, int *minor);
#endif

/* MPI_MAX_LIBRARY_VERSION_STRING of all: 8192 at most. */
static char version[16384];

int main(int argc, char **argv) {
  int length = 0;
  MPI_Init(&argc, &argv);
#ifdef NEWER
  int major, minor;
  MPI_Abi_get_version(&major, &minor);
#endif
  MPI_Get_library_version(version, &length);
  version[strcspn(version, "\n")] = '\0';
  printf("uid %d euid %d by %s\n", (int)getuid(), (int)geteuid(), version);
  char line[4096], last[4096] = "";
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    char *path = strchr(line, '/');
    if (path == NULL || strstr(path, "/libmpi") == NULL || strcmp(path, last) == 0)
      continue;
    strcpy(last, path);
    printf("mapped %s", path);
  }
  if (maps != NULL)
    fclose(maps);
  fflush(stdout);
  MPI_Finalize();
  return 0;
}
