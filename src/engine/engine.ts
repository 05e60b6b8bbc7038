// SPDX-License-Identifier: Apache-2.0
/**
 * The engine contract. An adapter is data first: what the host must have, which artifact it takes, how it is entered,
 * what it can do; then the functions that spell a plan in its words. Adding one is a file here, a row in engines.ts
 * and a page in docs.
 */
import type { NamespaceSpec } from '../native.js'
import type { Plan, PlannedMount } from '../plan/spec.js'

/**
 * join: one holder per node and step, tasks enter its namespaces with berth's launcher.
 * exec: the launcher executes the engine's command line in each task.
 * replace: the engine's process becomes the task.
 */
export type EntryWay = 'join' | 'exec' | 'replace'

/** squashfs: berth's file. rootfs: a directory prepared once per node. oci: a layout. store: the engine's own. */
export type Artifact = 'squashfs' | 'rootfs' | 'oci' | 'store'

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
  /** Lowest version that was tried. */
  versionMin?: string
  /** Command that must exit with 0. */
  probe?: readonly string[]
  daemon: boolean
  setuid: boolean
  /** Rows of native.kernelFeatures() that must be true. */
  kernel: readonly ('mountApi' | 'squashfs' | 'overlay' | 'loop' | 'userNamespaces')[]
}

/** How the words of a command line are formed; engines that join have none. */
export interface Spelling {
  mount(mount: PlannedMount): string[]
  variable(name: string, value: string): string[]
  unset(name: string): string[]
  cwd(path: string): string[]
  user(user: Plan['process']['user']): string[]
  /** Ends the options: artifact, then the program's own words follow. */
  root(artifact: string): string[]
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
  /** argv is run on the host, it enters the container by itself. */
  exec: boolean
}

export interface EntrypointLaunch {
  argv: string[]
  /** What it says is shown. */
  log: boolean
  /** Names, and prefixes with a star, of the task's variables that it sees beside the image's. */
  sees: string[]
  /** As sees, and what it makes of them is not for the command. */
  keeps: string[]
}

export interface Translation {
  /** Absent for engines that make their own. */
  namespaces?: NamespaceSpec
  launch: LaunchFields
}

export interface Engine {
  name: string
  /** One clause for `berth engines` and the page. */
  summary: string
  needs: EngineNeeds
  artifact: Artifact
  entry: EntryWay
  abilities: Abilities
  spelling?: Spelling
  /** Engine's own exit code → berth's 125, 126 or 127; others are the program's. */
  exitCodes: Readonly<Record<number, number>>
  /** Command that ends what outlives a killed launcher; {step} is replaced by the step's label. Empty: nothing does. */
  teardown: readonly string[]
  translate(plan: Plan, place: EnginePlace): Translation
}
