// SPDX-License-Identifier: Apache-2.0
/*
 * An MPI program that says which library runs it. Linked on this machine and run in images of older and newer
 * releases, so it starts as programs did before glibc 2.34.
 */
#define _GNU_SOURCE
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __x86_64__
__asm__(".symver start_main,__libc_start_main@GLIBC_2.2.5\n"
        ".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov (%rsp),%rdi\n\tlea 8(%rsp),%rsi\n\tand $-16,%rsp\n"
        "\tcall probe_start\n");
int start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
               void *);
int main(int argc, char **argv);
void probe_start(long argc, char **argv) {
  start_main((int (*)(int, char **, char **))main, (int)argc, argv, NULL, NULL, NULL, NULL);
}
#endif

/* numbered: each file with its number, by which one that is bound over another of the same name is told from
 * it. */
static void tell_maps(int numbered) {
  char line[4096], last[4096] = "";
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    unsigned long inode = 0;
    sscanf(line, "%*s %*s %*s %*s %lu", &inode);
    char *path = strchr(line, '/');
    if (path == NULL || (strstr(path, "/libmpi") == NULL && strstr(path, "/libuc") == NULL))
      continue;
    path[strcspn(path, "\n")] = '\0';
    if (strcmp(path, last) == 0)
      continue;
    strcpy(last, path);
    if (numbered)
      printf("file %lu %s\n", inode, path);
    else
      printf("mapped %s\n", path);
  }
  if (maps != NULL)
    fclose(maps);
}

/* Whether a neighbour's memory can be read, as ranks on a node do for large messages. */
static void tell_cma(int rank) {
  uint64_t own[2] = {(uint64_t)getpid(), 0}, other[2];
  static char word[16], seen[16];
  snprintf(word, sizeof(word), "from %d", rank);
  own[1] = (uint64_t)(uintptr_t)word;
  MPI_Sendrecv(own, sizeof(own), MPI_BYTE, rank ^ 1, 1, other, sizeof(other), MPI_BYTE, rank ^ 1, 1,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  struct iovec to = {seen, sizeof(seen)}, from = {(void *)(uintptr_t)other[1], sizeof(seen)};
  ssize_t got = process_vm_readv((pid_t)other[0], &to, 1, &from, 1, 0);
  printf("cma %s\n", got == sizeof(seen) ? seen : "refused");
  MPI_Barrier(MPI_COMM_WORLD);
}

/* The best of many bursts, each so short (there and back) that both ranks can have their processors for all
 * of it on a busy machine. */
static void tell_bandwidth(int rank) {
  enum { SIZE = 4 << 20, TURNS = 2, BURSTS = 100 };
  char *buffer = calloc(1, SIZE);
  double best = 0;
  MPI_Barrier(MPI_COMM_WORLD);
  for (int burst = 0; burst < BURSTS && rank < 2; burst++) {
    double begin = MPI_Wtime();
    for (int i = 0; i < TURNS; i++) {
      if ((i + rank) % 2 == 0)
        MPI_Send(buffer, SIZE, MPI_BYTE, rank ^ 1, 2, MPI_COMM_WORLD);
      else
        MPI_Recv(buffer, SIZE, MPI_BYTE, rank ^ 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    double speed = (double)SIZE * TURNS / (MPI_Wtime() - begin);
    if (speed > best)
      best = speed;
  }
  if (rank == 0)
    printf("bandwidth %.0f MB/s\n", best / 1e6);
  free(buffer);
}

/*
 * In one of twenty runs what follows at once on the first words of two ranks waits for ever, on bare Slurm
 * too, with UCX 1.13 over tcp; after a pause in one of some hundreds. Programs compute in between anyhow.
 */
enum { AFTER_FIRST_WORDS_US = 50000 };

int main(int argc, char **argv) {
  int rank, size, length, sum = 0;
  char version[MPI_MAX_LIBRARY_VERSION_STRING];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int one = rank + 1;
  MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  usleep(AFTER_FIRST_WORDS_US);
  MPI_Get_library_version(version, &length);
  for (char *c = version; *c != '\0'; c++)
    if (*c == '\t' || *c == ',')
      *c = ' ';
  version[strcspn(version, "\n")] = '\0';
  printf("rank %d of %d sum %d by %s\n", rank, size, sum, version);
  int numbered = argc > 1 && strcmp(argv[1], "files") == 0;
  if (rank == 0 || numbered)
    tell_maps(numbered);
  if (argc > 1 && strcmp(argv[1], "node") == 0) {
    tell_cma(rank);
    tell_bandwidth(rank);
  }
  fflush(stdout);
  MPI_Finalize();
  return 0;
}
