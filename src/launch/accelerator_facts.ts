// SPDX-License-Identifier: Apache-2.0
/**
 * What the plan's profiles, devices and fabric need to know about this node: only what this step names is looked at.
 * Which devices the step may open is asked from inside the cgroup of one of its tasks.
 */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { native } from '../native.js'
import type { AcceleratorFacts, HostNode, LibraryNeed } from '../plan/accelerators.js'
import { devicesOfKind } from '../plan/cdi_all.js'
import { LIBRARY } from '../plan/device_libraries.js'
import { FABRIC_DEVICES, FABRIC_DIRECTORIES } from '../plan/fabric.js'
import { GPU_DEVICES, GPU_SHARED_DEVICES, planGpus } from '../plan/gpu.js'
import type { PlanInput } from '../plan/input.js'
import { IMEX_DEVICES, IMEX_DIRECTORY, MIG_DEVICES } from '../plan/nvidia_nodes.js'
import { type ProfileChoice, triggerPaths } from '../plan/profile_choice.js'
import { activeProfiles, profilePatterns, profileVariables } from '../plan/profiles.js'
import { BerthError } from '../report/errors.js'
import { readCdiCatalog } from '../site/cdi.js'
import type { CdiEdits } from '../site/cdi_spec.js'
import { expandGlob, listNames } from './glob.js'
import { readHookFiles } from './hook_files.js'
import { libraryNeeds } from './host_library.js'
import { findNvidiaDriver, otherNames } from './nvidia_driver.js'
import { openTaskRoot } from './task_root.js'

/** EPERM of errno(3). */
const DENIED = 1
/** Users have directories of their own there, and may mount a file server on them; device nodes are none of them. */
const OF_USERS = /^\/dev\/(shm|mqueue|fd|pts)\//

/** @param pid of a task of the step; absent: nobody can be asked, and every device counts as allowed */
export async function acceleratorFacts(input: PlanInput, pid: number | undefined): Promise<AcceleratorFacts> {
  const { site, request } = input
  const globs = new Map<string, readonly string[]>()
  const look = rememberLists()
  const expand = (patterns: readonly string[]): void => {
    for (const pattern of patterns) if (!globs.has(pattern)) globs.set(pattern, expandGlob(pattern, look))
  }
  const facts = {
    cdi: readCdiCatalog(site.get('cdi_dirs')),
    nodes: new Map<string, HostNode>(),
    paths: new Set<string>(),
    links: new Map<string, readonly string[]>(),
    globs,
    hooks: new Map(),
  }
  for (const [pattern, found] of nodesByPattern()) globs.set(pattern, found)
  if (site.get('container_fabric') === 'off')
    for (const pattern of Object.keys(FABRIC_DEVICES)) globs.delete(pattern)
  expand(triggerPaths(site.profiles))
  const given = { ...input, host: { machine: '', ...input.host, accelerators: facts } }
  const profiles = chosenProfiles(given)
  const active = profiles?.active ?? []
  expand(profilePatterns(active, profileVariables(given)))
  for (const directory of active.flatMap(({ profile }) => profile.hooks))
    facts.hooks.set(directory, readHookFiles(directory))
  const driver = site.get('container_gpu') === 'off' ? undefined : driverOf(site.get('driver_root'), globs)
  const all: AcceleratorFacts = {
    ...facts,
    ...(driver === undefined ? {} : { nvidia: driver }),
    ...(profiles === undefined ? {} : { profiles }),
  }
  const named = [...request.devices, ...active.flatMap(({ profile }) => profile.devices)]
  const automatic = planGpus({ ...given, host: { ...given.host, accelerators: all } }).devices.map(
    ({ name }) => name,
  )
  const edits = editsOf(all, [...named, ...automatic])
  lookAtFiles(facts, edits)
  const root = openTaskRoot(pid)
  try {
    await lookAtDevices(facts, { edits, named, pid, root: root.path })
  } finally {
    root.close()
  }
  const searched = profilePatterns(
    active.filter(({ profile }) => profile.ldPath.length > 0),
    profileVariables(given),
  ).flatMap((pattern) => globs.get(pattern) ?? [])
  const needs = await libraryNeeds(native, [
    ...searched.filter((path) => LIBRARY.test(path)),
    ...[...facts.paths].filter((path) => LIBRARY.test(path)),
    ...(driver?.libraries ?? []).map(({ path }) => path),
    ...(driver?.libraries32 ?? []).map(({ path }) => path),
  ])
  addSonames(facts.links, facts.paths, needs)
  const renamed = edits.some(({ deviceNodes }) =>
    deviceNodes.some(({ path, hostPath }) => path !== hostPath && path.startsWith('/dev/')),
  )
  return { ...all, needs, ...(renamed ? { newNames: true } : {}) }
}

/** Nodes with GPUs or a fabric wait for the task's own environment and cgroup; others lose nothing. */
export function hasAccelerators(): boolean {
  return [...GPU_SHARED_DEVICES, '/dev/dri', '/dev/accel'].some((path) => existsSync(path))
}

/** Directories whose times change when a device node comes or goes. */
const NODE_DIRECTORIES = ['/dev', '/dev/dri', '/dev/infiniband', '/dev/nvidia-caps']
let known: { stamp: string; globs: ReadonlyMap<string, readonly string[]> } | undefined

/** Another one when device nodes were made or removed. */
export function nodesStamp(): string {
  return NODE_DIRECTORIES.map(timesOf).join(' ')
}

/** Each step asks, and the answer is the same until a driver is loaded. */
function nodesByPattern(): ReadonlyMap<string, readonly string[]> {
  const stamp = nodesStamp()
  if (known?.stamp !== stamp) {
    const look = rememberLists()
    const patterns = [...Object.values(GPU_DEVICES), MIG_DEVICES, ...Object.keys(FABRIC_DEVICES)]
    known = { stamp, globs: new Map(patterns.map((pattern) => [pattern, expandGlob(pattern, look)])) }
  }
  return known.globs
}

function timesOf(directory: string): string {
  const status = statSync(directory, { throwIfNoEntry: false })
  return status === undefined ? '-' : `${status.ino}:${status.mtimeMs}:${status.ctimeMs}`
}

/** A profile that cannot be used is told by the plan. */
function chosenProfiles(input: PlanInput): ProfileChoice | undefined {
  try {
    return activeProfiles(input)
  } catch (error) {
    if (error instanceof BerthError) return undefined
    throw error
  }
}

/** Without a device node there is no driver to speak of, unless the site names where its files are. */
function driverOf(root: string, globs: ReadonlyMap<string, readonly string[]>) {
  const there =
    root !== '/' || existsSync('/dev/nvidiactl') || (globs.get(GPU_DEVICES.nvidia) ?? []).length > 0
  return there ? findNvidiaDriver(root) : undefined
}

function editsOf({ cdi }: AcceleratorFacts, names: readonly string[]): CdiEdits[] {
  return names
    .flatMap((name) => devicesOfKind(cdi, name) ?? [name])
    .flatMap((name) => {
      const entry = cdi.devices.get(name)
      return entry === undefined ? [] : [entry.device.edits, entry.spec.edits]
    })
}

function lookAtFiles(
  facts: { paths: Set<string>; links: Map<string, readonly string[]> },
  edits: readonly CdiEdits[],
): void {
  const directories = new Set<string>()
  for (const [path] of FABRIC_DIRECTORIES) if (existsSync(path)) facts.paths.add(path)
  for (const { hostPath } of edits.flatMap(({ mounts }) => mounts)) {
    if (!existsSync(hostPath)) continue
    facts.paths.add(hostPath)
    if (LIBRARY.test(hostPath)) directories.add(dirname(hostPath))
  }
  for (const directory of directories) {
    const names = otherNames(directory, (name) => LIBRARY.test(name))
    for (const [path, others] of names) if (facts.paths.has(path)) facts.links.set(path, others)
  }
}

/** A driver whose installer left its names to ldconfig. */
function addSonames(
  links: Map<string, readonly string[]>,
  paths: ReadonlySet<string>,
  needs: ReadonlyMap<string, LibraryNeed>,
): void {
  for (const path of paths) {
    const soname = needs.get(path)?.soname ?? ''
    const names = links.get(path) ?? []
    if (!LIBRARY.test(soname) || soname.includes('/') || [basename(path), ...names].includes(soname)) continue
    links.set(path, [...names, soname])
  }
}

/** `root`: where the task stands. */
async function lookAtDevices(
  { globs, nodes }: { globs: Map<string, readonly string[]>; nodes: Map<string, HostNode> },
  wanted: { edits: readonly CdiEdits[]; named: readonly string[]; pid: number | undefined; root: string },
): Promise<void> {
  const { edits, named, pid, root } = wanted
  // Slurm makes them in the namespace of the job (switch/nvidia_imex): there they are looked for.
  const imex = expandGlob(`${root}${IMEX_DEVICES}`).map((path) => path.slice(root.length))
  globs.set(IMEX_DEVICES, imex)
  const matches = (patterns: readonly string[]) => patterns.flatMap((pattern) => globs.get(pattern) ?? [])
  const paths = new Set([
    ...edits.flatMap(({ deviceNodes }) => deviceNodes.map(({ hostPath }) => hostPath)),
    ...named.filter((name) => name.startsWith('/') && !OF_USERS.test(name)),
    ...matches(Object.values(GPU_DEVICES)),
    ...matches([MIG_DEVICES, IMEX_DEVICES]),
    ...GPU_SHARED_DEVICES,
    ...matches(Object.keys(FABRIC_DEVICES)),
  ])
  const seenAt = (path: string) => (path.startsWith(IMEX_DIRECTORY) ? `${root}${path}` : path)
  for (const path of paths) {
    const node = nodeOf(seenAt(path))
    if (node !== undefined) nodes.set(path, node)
  }
  if (pid === undefined || nodes.size === 0) return
  const asked = [...nodes.keys()]
  try {
    const codes = await native.probeDevices(pid, asked.map(seenAt))
    for (const [index, path] of asked.entries()) {
      const node = nodes.get(path)
      if (node !== undefined) nodes.set(path, { ...node, allowed: codes[index] !== DENIED })
    }
  } catch {
    // The task is gone, or there is no cgroup of devices here: then nothing is denied that could be.
  }
}

function nodeOf(path: string): HostNode | undefined {
  try {
    const status = statSync(path)
    const type = status.isCharacterDevice() ? 'c' : status.isBlockDevice() ? 'b' : undefined
    return type === undefined ? undefined : { type, ...numbersOf(status.rdev) }
  } catch {
    return undefined
  }
}

/** dev_t as gnu_dev_major and gnu_dev_minor take it apart (makedev(3)). */
function numbersOf(device: number): { major: number; minor: number } {
  const low = device % 2 ** 32
  const high = Math.floor(device / 2 ** 32)
  return {
    major: ((low >>> 8) & 0xfff) + (high & ~0xfff),
    minor: (low & 0xff) + ((low >>> 12) & ~0xff),
  }
}

/** Each directory is listed once for all patterns. */
function rememberLists(): (directory: string) => readonly string[] {
  const lists = new Map<string, readonly string[]>()
  return (directory) => {
    const names = lists.get(directory) ?? listNames(directory)
    lists.set(directory, names)
    return names
  }
}
