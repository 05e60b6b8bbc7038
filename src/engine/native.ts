// SPDX-License-Identifier: Apache-2.0
/** berth's own engine: one user and mount namespace per node and step, built by the worker, joined by each task. */
import type { Abilities, Engine, EngineNeeds } from './engine.js'

/** The prepared root needs these, whichever engine is started around it. */
export const KERNEL: EngineNeeds['kernel'] = ['mountApi', 'loop', 'squashfs', 'overlay', 'userNamespaces']

/** What berth does itself, before and after an engine: the same for all that are started around its root. */
export const ABILITIES: Abilities = {
  writable: true,
  writableSize: true,
  mounts: true,
  tmpfsMounts: true,
  umount: true,
  named: true,
  save: true,
  remapRoot: true,
  entrypoint: true,
  unshareNet: true,
  unshareIpc: true,
  unshareUts: true,
  unsharePid: true,
  shmSize: true,
  cdi: true,
  profiles: true,
  mpi: true,
  // Engines run those of their own.
  hooks: false,
  sharedByTasks: true,
  stepCgroup: true,
  engineArgs: false,
}

export const nativeEngine: Engine = {
  name: 'native',
  summary: 'built into berth: kernel squashfs, overlay and namespaces, no program to install',
  needs: { daemon: false, setuid: false, kernel: KERNEL },
  abilities: { ...ABILITIES, hooks: true },
  exitCodes: {},
}
