/* SPDX-License-Identifier: Apache-2.0
 *
 * The one wire format between the shim, the launcher, the importer, the CLI and the worker: length-prefixed
 * records on a unix stream socket, so that nothing in slurmstepd or in root code parses text. All integers
 * little-endian.
 *
 *   frame  = u32 size (bytes after this word, <= BERTH_FRAME_MAX) | u16 type | u16 version | field*
 *   field  = u16 tag | u16 zero | u32 length | length bytes (no padding, no terminator)
 *
 * File descriptors travel as SCM_RIGHTS with the first byte of the frame they belong to.
 * src/worker/frame.ts reads this very table (test/contract checks that both sides agree byte by byte).
 */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H

#define BERTH_PROTOCOL_VERSION 1
/* A job's whole environment fits (Linux caps one string at 128 KiB; whole environments beyond 1 MiB are
 * refused). */
#define BERTH_FRAME_MAX (1u << 20)
#define BERTH_FRAME_FDS_MAX 8

enum berth_type {
  /* to the worker */
  BERTH_CHECK = 1, /* srun/sbatch/salloc/CLI, any uid: CONTEXT OPTION* CWD ENV -> ACK|FAIL, then PIN|FAIL */
  BERTH_REGISTER = 2, /* slurmstepd, root: the connection is the step's lease; EOF releases it. No answer */
  /* slurmstepd child, root: HANDLE LOCAL_ID GLOBAL_ID PID CWD + fds mnt,user ns -> ACK|FAIL */
  BERTH_TASK = 3,
  BERTH_HELLO = 4,    /* launcher, user: TTY ARGV0 CWD [TICKET] -> PROGRESS* then JOIN|FAIL|PRINT */
  BERTH_RELEASE = 5,  /* slurmstepd, root, on the lease connection: all tasks ended -> ACK, not awaited */
  BERTH_PREFETCH = 6, /* prolog, root: OPTION* UID -> ACK at once */
  BERTH_CALL = 7,     /* CLI, any uid: NAME ARG* -> PROGRESS* then RESULT|FAIL */
  BERTH_RUN = 8,      /* CLI, any uid: OPTION* CWD ENV -> ACK(TICKET)|FAIL; connection is the lease */
  /* launcher that stayed, after JOIN: EXIT (as waitpid(2) gives it) -> PROGRESS* then ACK|FAIL */
  BERTH_ENDED = 9,
  BERTH_TOLD = 10, /* who was asked by LOGIN: [DATA], what the program printed */
  /* from the worker */
  BERTH_ACK = 64,
  BERTH_FAIL = 65,     /* CODE TEXT [HINT] EXIT */
  BERTH_PROGRESS = 66, /* TEXT: bytes to copy to stderr as they are */
  /* NS (u32 CLONE_NEW* each, order = fd order) [LEASE] CWD ENV_* FLAGS [SECCOMP] [ARGV*] + fds */
  BERTH_JOIN = 67,
  BERTH_RESULT = 68, /* DATA (JSON) */
  BERTH_PRINT = 69,  /* TEXT to stdout, then exit with EXIT */
  /* OPTION*: values that replace the user's (image by digest); empty when nothing is pinned */
  BERTH_PIN = 70,
  /* To a waiting CHECK, HELLO or CALL, at most one at a time: run ARGV ARG with your own rights and
   * environment -> TOLD. The user's own side of credentials, docs/decisions/0025-logins-of-users.md. */
  BERTH_LOGIN = 71,
  /* worker <-> importer */
  BERTH_RESOLVE = 96, /* REF ... -> RESOLVED|FAIL */
  BERTH_RESOLVED = 97,
  BERTH_IMPORT = 98, /* REF DIGEST + fd of the output file -> IMPORTING* then IMPORTED|FAIL */
  BERTH_IMPORTING = 99,
  BERTH_IMPORTED = 100,
  BERTH_OPEN = 101, /* importer asks for a file below the user's source: NAME -> OPENED + fd | FAIL */
  BERTH_OPENED = 102,
  BERTH_ASKING = 103, /* before RESOLVED: NAME (host) DONE (seconds) [EXIT (HTTP)]: a registry lets us wait */
};

enum berth_tag {
  BERTH_TAG_OPTION = 1, /* "name=value", name as in flags.c; booleans "=1" / "=0" */
  BERTH_TAG_ENV = 2,    /* "K=V\0K=V\0" */
  BERTH_TAG_CWD = 3,
  BERTH_TAG_JOB = 4,          /* u32 */
  BERTH_TAG_STEP = 5,         /* u32 */
  BERTH_TAG_UID = 6,          /* u32 */
  BERTH_TAG_GID = 7,          /* u32 */
  BERTH_TAG_GIDS = 8,         /* u32 array, supplementary groups */
  BERTH_TAG_NODE = 9,         /* u32, index of this node in the step */
  BERTH_TAG_LOCAL_TASKS = 10, /* u32 */
  BERTH_TAG_TOTAL_TASKS = 11, /* u32, 0 for batch */
  BERTH_TAG_RESTART = 12,     /* u32 */
  BERTH_TAG_CONTEXT = 13,     /* srun sbatch salloc | step batch interactive | run */
  BERTH_TAG_SCRIPT = 14,      /* batch script's path on the host, to be bound at the same place */
  BERTH_TAG_LOCAL_ID = 15,    /* u32 */
  BERTH_TAG_GLOBAL_ID = 16,   /* u32 */
  BERTH_TAG_PID = 17,         /* u32 */
  BERTH_TAG_TTY = 18,         /* u32, columns of stderr's terminal, 0 = none */
  BERTH_TAG_ARGV0 = 19,
  BERTH_TAG_HANDLE = 20, /* 16 random bytes made by the shim: ties TASK to REGISTER */
  BERTH_TAG_TICKET = 21, /* 16 random bytes made by the worker for RUN */
  BERTH_TAG_TEXT = 22,
  BERTH_TAG_CODE = 23, /* BERTH_E... */
  BERTH_TAG_HINT = 24,
  BERTH_TAG_EXIT = 25,        /* u32 */
  BERTH_TAG_ENV_SET = 26,     /* "K=V": image over host */
  BERTH_TAG_ENV_DEFAULT = 27, /* "K=V": only where the task has no K */
  BERTH_TAG_ENV_UNSET = 28,   /* "K" */
  BERTH_TAG_NS = 29,          /* u32, one per fd */
  BERTH_TAG_FLAGS = 30,       /* u32, BERTH_FLAG_* */
  BERTH_TAG_SECCOMP = 31,     /* struct sock_filter array */
  BERTH_TAG_ARGV = 32,        /* words before the user's command line; of LOGIN the program */
  BERTH_TAG_NAME = 33,
  BERTH_TAG_ARG = 34,
  BERTH_TAG_DATA = 35,
  BERTH_TAG_REF = 36,
  BERTH_TAG_DIGEST = 37,
  BERTH_TAG_DONE = 38,     /* u64 bytes */
  BERTH_TAG_TOTAL = 39,    /* u64 bytes */
  BERTH_TAG_ENV_COPY = 40, /* "K=NAME": the task's own value of NAME, where it has one */
  /* a word of the image's entrypoint, which runs before the command; in RUN, empty: it takes the command */
  BERTH_TAG_ENTRYPOINT = 41,
  BERTH_TAG_ENV_ENTRY = 42, /* "K" or "K*": what of the task's environment the entrypoint sees */
  BERTH_TAG_ENV_KEEP = 43,  /* "K": as ENV_ENTRY, and the entrypoint cannot change it for the command */
  /* u32 1: JOIN's last descriptor is the life of the pid namespace, held while the command runs */
  BERTH_TAG_LEASE = 44,
};

/*
 * What the launcher makes of the answers to HELLO (lines that fit: clang-format joins what it must break):
 *
 *   PROGRESS  counts as a sign of life, also with an empty TEXT; without one for 15 minutes it gives up.
 *
 *   FAIL      with an empty TEXT prints nothing (another task of the node has said it), exits with EXIT.
 *
 *   JOIN      setns in the order of the NS fields; chdir to CWD if there is one; every ENV_UNSET, then every
 *             ENV_SET, then ENV_DEFAULT, then ENV_COPY; PATH of the resulting environment finds the command.
 *             No NS without BERTH_FLAG_BARE: refused. A pid namespace among them: the launcher runs the
 *             command in a child and stays.
 *
 *   EOF       before one of these: it connects and says HELLO again, at most five times in a row.
 */
#define BERTH_FLAG_NO_NEW_PRIVS 1u
/* The step turned out to want no container: its command runs where Slurm put it. */
#define BERTH_FLAG_BARE 2u
/* What the entrypoint says is shown. */
#define BERTH_FLAG_ENTRYPOINT_LOG 4u
/* The launcher runs the command in a child, says ENDED on this connection and leaves after the answer. */
#define BERTH_FLAG_STAY 8u

/* Exit codes of the launcher: those of env(1). */
#define BERTH_EXIT_FAILED 125
#define BERTH_EXIT_NOT_EXECUTABLE 126
#define BERTH_EXIT_NOT_FOUND 127

#endif
