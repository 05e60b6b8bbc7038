// SPDX-License-Identifier: Apache-2.0
/** Every bound of the worker's socket in one place; a peer that passes one loses its connection, nothing else. */

/** One launcher per task: the largest nodes have a few hundred hardware threads, some users run several steps. */
export const CONNECTIONS_PER_USER_MAX = 2048
/** Root's connections are leases and task announcements, at most two per task of every job of the node. */
export const CONNECTIONS_OF_ROOT_MAX = 8192
/** Of frames that have not come whole: sixteen of the largest; launchers send theirs in one piece. */
export const UNFINISHED_BYTES_PER_USER_MAX = 16 << 20
/** A frame is sent at once: only a peer that was stopped in the middle takes longer. */
export const UNFINISHED_MS_MAX = 30_000
/** Tasks that one step may announce: Slurm's own limit of tasks on a node (MAX_TASKS_PER_NODE). */
export const TASKS_PER_STEP_MAX = 512
/** Steps of one user started by `berth run`, each of which may hold namespaces and an image. */
export const RUNS_PER_USER_MAX = 64
/** Options in one frame: several times the rows of flags.c, whose repeats are joined by the shim. */
export const OPTIONS_PER_FRAME_MAX = 256
/** Questions to registries and pulls that one user may have under way: each may need an importer process. */
export const ERRANDS_PER_USER_MAX = 8
/** A user's own credential programs: above LOGIN_MS_MAX of slurm/login.h, after which the other side gives up. */
export const LOGIN_WAIT_MS_MAX = 60_000
/** What they say: one frame carries it with all documents; a token of a cloud has a few KiB. */
export const LOGIN_BYTES_MAX = 128 << 10
/**
 * A TASK may overtake its REGISTER (two connections, one worker that has just started): wait this long for it, well
 * under TASK_ACK_MS_MAX of slurm/stepd.c.
 */
export const REGISTER_WAIT_MS_MAX = 10_000
/** The submit check promises an answer in this time, so that sbatch never hangs on a registry. */
export const PIN_WAIT_MS_MAX = 8000
/** Well under the launcher's SILENCE_MS_MAX of 15 minutes; the only timer that repeats, and only while a task waits. */
export const KEEP_ALIVE_MS = 60_000
/** Words of progress to one launcher; one that does not read (stopped by SIGSTOP) must not let them pile up for ever. */
export const PROGRESS_FRAMES_MAX = 4096
/** Lease files are written by this program only; a larger one is not ours. */
export const LEASE_BYTES_MAX = 4 << 20
/** Names of a container of `berth oci`; runc's set, and what account names have besides. */
export const CONTAINER_ID = /^[\w+@.-]{1,255}$/
