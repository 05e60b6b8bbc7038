// SPDX-License-Identifier: Apache-2.0
/*
 * Stand-in for an MPI library of a kind that no Debian release has: the few functions that mpi_small.c calls,
 * and with OPEN_MPI what tells one from MPICH.
 */
#include <string.h>

#ifndef NAME
#define NAME "a stand-in"
#endif

#ifdef OPEN_MPI
int ompi_mpi_comm_world;
#endif
#ifdef NEWER
int MPI_Abi_get_version(int *major, int *minor) { return *major = *minor = 0; }
#endif

int MPI_Init(int *count, char ***arguments) { return count == 0 && arguments == 0; }

int MPI_Get_library_version(char *text, int *length) {
  strcpy(text, NAME);
  return *length = 0;
}

int MPI_Finalize(void) { return 0; }
