// SPDX-License-Identifier: Apache-2.0
/**
 * The engine contract. An adapter is data first: what the host must have, what it can do, which command line starts it.
 * Adding one is a file here, a row in engines.ts, a row in test/engine and a page in docs/engines, which says how.
 *
 * Every engine is entered the same way: it is started once per node and step, around a program that does nothing, in
 * the root file system that berth has prepared; what it has made of that (its mounts, its hooks' work, its variables) is
 * what all tasks of the step then join, by berth's launcher, in one user namespace.
 */
import type { NamespaceSpec } from '../native.js'
import type { Plan } from '../plan/spec.js'

/** What a user can ask for that not every engine has; each key is a row of ABILITIES. */
export interface Abilities {
  writable: boolean
  writableSize: boolean
  mounts: boolean
  tmpfsMounts: boolean
  umount: boolean
  named: boolean
  save: boolean
  remapRoot: boolean
  entrypoint: boolean
  unshareNet: boolean
  unshareIpc: boolean
  unshareUts: boolean
  unsharePid: boolean
  shmSize: boolean
  /** CDI device specs. */
  cdi: boolean
  /** The site's named sets of options. */
  profiles: boolean
  /** Replacement of the image's MPI by the host's. */
  mpi: boolean
  /** OCI hooks. */
  hooks: boolean
  /** All tasks of a step on a node share one container, so that ranks can read each other's memory. */
  sharedByTasks: boolean
  /** The step's memory limit and accounting hold for the program. */
  stepCgroup: boolean
  engineArgs: boolean
}

export type Ability = keyof Abilities

export interface EngineNeeds {
  /** Program that must be found; absent: nothing but the kernel. */
  binary?: string
  /** Words that make it say its version; --version by default. */
  versionWords?: readonly string[]
  /** What its version must match: some programs go by several names. */
  versionPattern?: RegExp
  /** Lowest version that was tried, dotted numbers. */
  versionMin?: string
  /** Programs that it starts itself and that must be found too. */
  helpers?: readonly string[]
  /** How it is installed, for the error: "apt install crun". */
  install?: string
  daemon: boolean
  setuid: boolean
  /** Rows of native.kernelFeatures() that must be true. */
  kernel: readonly ('mountApi' | 'squashfs' | 'overlay' | 'loop' | 'userNamespaces')[]
}

/** What an adapter makes its command line from. All paths are those of the host as the engine sees it. */
export interface StartPlace {
  /** The binary by its absolute path. */
  binary: string
  /** As it said itself, e.g. "1.8.1". */
  version: string
  /** The prepared root: writable, owned by the user, with every mount point of `mountPoints`. */
  root: string
  /** The user's own, with `files`; gone with the step. */
  work: string
  /** Empty directory of the user's, exported as XDG_RUNTIME_DIR; gone with the step. */
  run: string
  /** Unique on the node, letters, digits and '-': a name for the container. */
  id: string
  /** Command line of the program to run in the container. */
  hold: readonly string[]
  /** Where the engine's daemon listens, an absolute path. */
  socket: string
  /** --container-engine-args, allowed by the site already. */
  args: readonly string[]
  plan: Plan
}

/** How an engine is started around the prepared root. */
export interface EngineStart {
  /**
   * A daemon of root's makes the container: the commands are run as root, `root` is a path that the daemon sees, too,
   * and users reach this engine only where the site names it in `engines`.
   */
  byDaemon?: true
  /** Each pair: what must succeed, else what is run before the command. */
  before?(place: StartPlace): { unless: string[]; command: string[] }[]
  /** A foreground command that ends when `hold` ends, or one that leaves it running. */
  command(place: StartPlace): string[]
  /** Beside PATH, HOME, USER, LANG and XDG_RUNTIME_DIR. */
  environment?(place: StartPlace): Record<string, string>
  /** Written to `work` before. */
  files?(place: StartPlace): { name: string; content: string }[]
  /** Directories that it wants to mount on, made in the root. */
  mountPoints: readonly string[]
  /** Directories of the host that it finds empty. */
  hidden?: readonly string[]
  /** Where the prepared root is inside the container, when it is not its "/". */
  rootInside?: string
  /** Commands after the end, each with its own time limit; what fails is logged. What still runs is killed after them. */
  teardown?(place: StartPlace): string[][]
  /** Names, and prefixes with a star, of variables that it makes for its own use and that no task needs. */
  ownVariables?: readonly string[]
}

/** What the launch room made before: the artifact, and the job's own namespaces to build below. */
export interface EnginePlace {
  /** Loop device with the image, or a directory that holds a root file system. */
  image: { device: string } | { directory: string }
  /** Directory that exists and may be covered while building. */
  staging: string
  /** Kernel can show root's files as the user's. */
  idmap: boolean
  /** What is written is kept: a directory on disk, and, while others use it, the namespace that has it mounted. */
  root?: { directory: string; rootNs?: number }
  /** A block device with a file system for what is written and not kept. */
  disk?: string
  /** Job's namespaces when they are not the worker's; borrowed. */
  mountNs?: number
  userNs?: number
}

/** For the launcher: where to start, how to edit the environment, and what to run. */
export interface LaunchFields {
  cwd: string
  /** "K=V" */
  set: string[]
  /** "K=V" */
  defaults: string[]
  unset: string[]
  /** "K=NAME": the task's own value of NAME. */
  copies?: string[]
  /** The image's entrypoint, run in each task before the command. */
  entrypoint?: EntrypointLaunch
  /** Changes of owner and identity seem to succeed. */
  fakeRoot?: boolean
  /** Before the user's command line. */
  argv: string[]
  noNewPrivileges: boolean
  /** There is no container: the command runs where Slurm put it. */
  bare: boolean
}

interface EntrypointLaunch {
  argv: string[]
  /** What it says is shown. */
  log: boolean
  /** Names, and prefixes with a star, of the task's variables that it sees beside the image's. */
  sees: string[]
  /** As sees, and what it makes of them is not for the command. */
  keeps: string[]
}

export interface Translation {
  namespaces: NamespaceSpec
  launch: LaunchFields
}

export interface Engine {
  name: string
  /** One clause for `berth engines` and the page. */
  summary: string
  needs: EngineNeeds
  abilities: Abilities
  /** Exit codes of the engine itself and what they mean, for the error when it does not start. */
  exitCodes: Readonly<Record<number, string>>
  /** Absent: berth is the engine. */
  start?: EngineStart
}
