// SPDX-License-Identifier: Apache-2.0
/** `berth doctor gpu [IMAGE]`: which devices a step here has, what comes into an image with them, and why not more. */
import { accessSync, constants } from 'node:fs'
import { compareVersions } from '../image/elf_names.js'
import { expandGlob } from '../launch/glob.js'
import { libraryNeeds } from '../launch/host_library.js'
import { findNvidiaDriver } from '../launch/nvidia_driver.js'
import type { NvidiaDriver } from '../plan/accelerators.js'
import { planCdiHook } from '../plan/cdi_hooks.js'
import { FABRIC_DEVICES } from '../plan/fabric.js'
import { GPU_DEVICES, GPU_SHARED_DEVICES } from '../plan/gpu.js'
import { planHook, showHook } from '../plan/hooks.js'
import { MASKS } from '../plan/masks.js'
import { IMEX_DEVICES, MIG_DEVICES } from '../plan/nvidia_nodes.js'
import { checkProfiles } from '../plan/profile_check.js'
import { type CdiCatalog, readCdiCatalog } from '../site/cdi.js'
import { loadSite, type Site } from '../site/site.js'
import type { CommandInput, Places } from './command.js'
import type { Finding } from './doctor.js'
import { describeImage } from './doctor_image.js'
import { settingsHere } from './plugin_line.js'

export interface DeviceFacts {
  site: Pick<Site, 'get' | 'origin' | 'profiles'>
  catalog: CdiCatalog
  gpus: readonly ProbedNode[]
  fabric: readonly ProbedNode[]
  /** Parts of NVIDIA's GPUs and links between nodes: MIG and IMEX. */
  parts?: readonly ProbedNode[]
  driver?: NvidiaDriver
  /** Highest version that the driver's libraries want; '' for none that could be told. */
  glibc?: string
  environment: Readonly<Record<string, string | undefined>>
}

export interface ProbedNode {
  path: string
  /** denied: by the cgroup; foreign: by its owner and mode. */
  state: 'open' | 'denied' | 'foreign' | 'missing'
}

/** Names of a long list that are shown. */
const SHOWN_MAX = 8

export async function checkGpu({ args, places }: CommandInput): Promise<Finding[]> {
  const [, image] = args.words
  const findings = describeDevices(await gather(places))
  const words = image === undefined ? args.container : [`container-image=${image}`, ...args.container]
  return image === undefined ? findings : [...findings, ...(await describeImage(places, words))]
}

async function gather(places: Places): Promise<DeviceFacts> {
  const site = loadSite(await settingsHere(places))
  const probe = (patterns: readonly string[]) =>
    patterns.flatMap((pattern) => expandGlob(pattern)).map(probeNode)
  const root = site.get('driver_root')
  const gpus = probe([...Object.values(GPU_DEVICES), ...GPU_SHARED_DEVICES])
  const has = root !== '/' || gpus.some(({ path }) => path.startsWith('/dev/nvidia'))
  const driver = has ? findNvidiaDriver(root) : undefined
  return {
    ...{ site, gpus, catalog: readCdiCatalog(site.get('cdi_dirs')), environment: process.env },
    fabric: probe(Object.keys(FABRIC_DEVICES)),
    parts: probe([MIG_DEVICES, IMEX_DEVICES]),
    ...(driver === undefined ? {} : { driver, glibc: await highestNeed(driver) }),
  }
}

async function highestNeed({ libraries }: NvidiaDriver): Promise<string> {
  // The addon is there only once all is built.
  const { native } = await import('../native.js')
  const needs = await libraryNeeds(
    native,
    libraries.map(({ path }) => path),
  )
  const versions = [...needs.values()].map(({ glibc }) => glibc)
  return versions.reduce((best, one) => (compareVersions(one, best) > 0 ? one : best), '')
}

/** As the process that asks: run inside a step, its cgroup and groups answer. */
export function probeNode(path: string): ProbedNode {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return { path, state: 'open' }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    return { path, state: code === 'EPERM' ? 'denied' : code === 'EACCES' ? 'foreign' : 'missing' }
  }
}

export function describeDevices(facts: DeviceFacts): Finding[] {
  return [
    ...describeNodes('gpus', facts.gpus),
    ...((facts.parts ?? []).length === 0 ? [] : describeNodes('MIG and IMEX', facts.parts ?? [])),
    ...describeNodes('fabric', facts.fabric),
    describeDriver(facts),
    ...describeCdi(facts),
    ...describeHooks(facts),
    describeStep(facts),
    ...describeProfiles(facts),
  ]
}

function describeNodes(check: string, nodes: readonly ProbedNode[]): Finding[] {
  if (nodes.length === 0) return [{ check, state: 'ok', found: 'none on this node' }]
  const of = (state: ProbedNode['state']) =>
    nodes.filter((node) => node.state === state).map(({ path }) => path)
  const [open, denied, foreign] = [of('open'), of('denied'), of('foreign')]
  const findings: Finding[] = []
  if (open.length > 0) findings.push({ check, state: 'ok', found: `can be opened: ${list(open)}` })
  if (denied.length > 0)
    findings.push({ check, state: 'ok', found: `of other steps, denied by the cgroup: ${list(denied)}` })
  if (foreign.length > 0)
    findings.push({
      ...{ check, state: 'warn', found: `owner and mode keep this account out: ${list(foreign)}` },
      fix: 'put users into the group of these devices, or let udev open them; a container adds no groups',
    })
  return findings
}

function describeDriver({ driver, gpus, site, glibc = '' }: DeviceFacts): Finding {
  const check = 'NVIDIA driver'
  if (driver !== undefined) {
    const found = `${driver.version}: ${driver.libraries.length} libraries, ${driver.binaries.length} programs below ${site.get('driver_root')}${glibc === '' ? '' : `, for images with glibc ${glibc} or later`}`
    return { check, state: 'ok', found }
  }
  if (!gpus.some(({ path }) => path.startsWith('/dev/nvidia')))
    return { check, state: 'ok', found: 'not needed' }
  const fix = 'name the place of its files with driver_root, or generate a CDI file'
  return { check, state: 'warn', found: `no libcuda.so below ${site.get('driver_root')}`, fix }
}

function describeCdi({ catalog, site }: DeviceFacts): Finding[] {
  const check = 'CDI'
  const names = [...catalog.devices.keys()]
  const places = site.get('cdi_dirs').join(', ')
  const fix = 'correct or remove the file; its other devices are not offered until then'
  return [
    { check, state: 'ok', found: names.length === 0 ? `no devices in ${places}` : list(names) },
    ...catalog.problems.map(
      ({ file, problem }): Finding => ({ check, state: 'fail', found: `${file}: ${problem}`, fix }),
    ),
    ...[...catalog.conflicts].map(
      ([name, files]): Finding => ({
        ...{ check, state: 'fail', found: `${name} is in ${files.join(' and ')}` },
        fix: 'keep it in one file of the directory: from two it is given to nobody',
      }),
    ),
  ]
}

/** Those that berth neither does itself nor may run: each fails a step that asks for the device. */
function describeHooks({ catalog, site }: DeviceFacts): Finding[] {
  const why = { reason: '', origin: '' }
  const found = [...catalog.devices].flatMap(([name, { device, spec }]) =>
    [...device.edits.hooks, ...spec.edits.hooks].flatMap((hook) => {
      if (planCdiHook(hook, () => [], why).isUnknown !== true) return []
      const words = { ...hook, stage: hook.hookName }
      const planned = planHook({ site, engine: 'native' }, words, why)
      return typeof planned === 'string' ? [`${name}: ${showHook(words)} is not run: ${planned}`] : []
    }),
  )
  const fix = 'name its program in hooks_allow, or do without it by cdi_hooks=ignore'
  return found.slice(0, SHOWN_MAX).map((text) => ({ check: 'hook', state: 'warn', found: text, fix }))
}

function describeStep({ environment, site }: DeviceFacts): Finding {
  const names = ['SLURM_STEP_GPUS', 'SLURM_JOB_GPUS', 'NVIDIA_VISIBLE_DEVICES', ...MASKS]
  const said = names
    .filter((name) => environment[name] !== undefined)
    .map((name) => `${name}=${environment[name]}`)
  const check = 'step'
  if (site.get('container_gpu') === 'off') {
    const found = `container_gpu=off (${site.origin('container_gpu')}): GPUs only with --container-device or a profile`
    return { check, state: 'ok', found }
  }
  if (said.length > 0) return { check, state: 'ok', found: said.join(' ') }
  const fix =
    'run it in a step with --gres or --gpus; outside of one, only --container-device brings a driver in'
  return { check, state: 'warn', found: 'no GPUs of Slurm in the environment', fix }
}

function describeProfiles({ site }: DeviceFacts): Finding[] {
  const fix = 'correct the line; until then the profile fails the steps that use it'
  return checkProfiles(site.profiles).map((found) => ({ check: 'profile', state: 'fail', found, fix }))
}

function list(names: readonly string[]): string {
  const more = names.length > SHOWN_MAX ? ` and ${names.length - SHOWN_MAX} more` : ''
  return `${names.slice(0, SHOWN_MAX).join(', ')}${more}`
}
