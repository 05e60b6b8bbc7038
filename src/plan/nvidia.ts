// SPDX-License-Identifier: Apache-2.0
/**
 * NVIDIA without a CDI file: the driver's libraries and programs of the host, by the words that images have for NVIDIA's
 * own toolkit (NVIDIA_VISIBLE_DEVICES, NVIDIA_DRIVER_CAPABILITIES, NVIDIA_REQUIRE_*). They go where CUDA images look:
 * /usr/local/nvidia, which is in their PATH and in their loader's directories.
 */
import { posix } from 'node:path'
import { BerthError } from '../report/errors.js'
import type { HostLibrary, NvidiaDriver } from './accelerators.js'
import { insideRoot } from './cwd.js'
import { type AddedLibrary, entryOf, foreignLibc, misfitOf } from './device_libraries.js'
import { IMAGE_CONFIG, type PlanInput } from './input.js'
import { planLoader } from './loader.js'
import { hasLoaderCache, type LoaderEntry } from './loader_cache.js'
import { checkRequirements } from './nvidia_require.js'
import type { PlannedMount, Reason } from './spec.js'
import { presentValue, type VariableEdits } from './variables.js'

const NVIDIA_LIBRARIES_DIR = '/usr/local/nvidia/lib64'
const NVIDIA_LIBRARIES32_DIR = '/usr/local/nvidia/lib'
const NVIDIA_PROGRAMS_DIR = '/usr/local/nvidia/bin'

/** Which library and program belongs to what (nvidia-container-toolkit, libnvidia-container nvc_info.c). */
const CAPABILITIES: Readonly<Record<string, RegExp>> = {
  compute:
    /^(lib(cuda|cudadebugger|nvidia-(opencl|ptxjitcompiler|nvvm\d*|gpucomp|fatbinaryloader|allocator|compiler|pkcs11.*|tileiras))\.so|nvidia-cuda-mps-(control|server)$|nvidia\.icd$|nvidia-mps$)/,
  utility: /^(libnvidia-(ml|cfg|nscq|sandboxutils)\.so|nvidia-(smi|debugdump|persistenced)$|socket$)/,
  video: /^lib(vdpau_nvidia|nvcuvid|nvidia-(encode|opticalflow))\.so/,
  graphics:
    /^(lib(GLX_nvidia|EGL_nvidia|GLESv2_nvidia|GLESv1_CM_nvidia|nvoptix|nvidia-(eglcore|glcore|tls|glsi|fbc|ifr|rtcore|glvkspirv|cbl|egl-.*|gpucomp|vulkan-producer))\.so|10_nvidia\.json$|nvidia_(icd|layers).*\.json$)/,
  ngx: /^(libnvidia-ngx\.so|nvidia-ngx-updater$)/,
  display: /^lib(GLX_nvidia|EGL_nvidia|nvidia-(glcore|eglcore|tls|glsi))\.so/,
}
/** Whatever else is wanted, for programs of 32 bits too. */
const COMPAT32 = 'compat32'
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  all: [...Object.keys(CAPABILITIES), COMPAT32],
  vulkan: ['graphics'],
}
/** Where nobody says: what a program that computes and nvidia-smi need; the toolkit has "utility" alone. */
const DEFAULT = 'compute,utility'

interface NvidiaEdits {
  loader: LoaderEntry[]
  mounts: PlannedMount[]
  notes: string[]
}

/** @throws BERTH_EGPU */
export function planNvidia(
  input: PlanInput,
  driver: NvidiaDriver,
  variables: VariableEdits,
  why: Reason,
): NvidiaEdits {
  const failed = checkRequirements(input, driver.version)
  if (failed !== undefined && 'requirement' in failed)
    throw new BerthError('BERTH_EGPU', { requirement: failed.requirement, found: failed.found })
  const { wanted, notes } = capabilitiesOf(input)
  if (failed !== undefined) notes.push(failed.note)
  const has = (path: string) => wanted.some((name) => CAPABILITIES[name]?.test(posix.basename(path)))
  const libraries = [
    ...driver.libraries.map((library) => ({ ...library, at: NVIDIA_LIBRARIES_DIR })),
    ...(wanted.includes(COMPAT32) ? driver.libraries32 : []).map((library) => ({
      ...{ ...library, at: NVIDIA_LIBRARIES32_DIR },
    })),
  ].filter(({ path }) => has(path))
  const fitting = libraries.filter(({ path }) => misfitOf(input, [path]) === undefined)
  const programs = driver.binaries.filter(has)
  const files = [...driver.files.filter(({ path }) => has(path)), ...planPipes(input, wanted)]
  const mounts = [
    ...fitting.flatMap(({ path, names, at }) => planLibrary(path, names, at, why)),
    ...programs.map((path) => bindFile(path, posix.join(NVIDIA_PROGRAMS_DIR, posix.basename(path)), why)),
    ...files.map(({ path, target }) => bindFile(path, insideRoot(target), why)),
  ]
  notes.unshift(
    `NVIDIA driver ${driver.version}: ${fitting.length} libraries, ${programs.length} programs (${wanted.join(', ')})`,
  )
  const misfit = misfitOf(
    input,
    libraries.map(({ path }) => path),
  )
  if (misfit !== undefined) notes.push(`NVIDIA driver ${driver.version}: left out: ${misfit}`)
  if (programs.length > 0) variables.extend('PATH', [NVIDIA_PROGRAMS_DIR], 'append', why)
  if (fitting.length === 0) return { loader: [], mounts, notes }
  if (hasLoaderCache(input))
    return { loader: fitting.flatMap(namesOf).map((one) => entryOf(input, one)), mounts, notes }
  const directories = [...new Set(fitting.map(({ at }) => at))]
  notes.push(...planLoader(variables, directories, 'append', why), ...foreignLibc(input, why))
  return { loader: [], mounts, notes }
}

function namesOf({ path, names, at }: HostLibrary & { at: string }): AddedLibrary[] {
  return [posix.basename(path), ...names].map((name) => ({ name, path: posix.join(at, name), source: path }))
}

/** Of the Multi-Process Service, where its server was told to have them (CUDA_MPS_PIPE_DIRECTORY; /tmp/nvidia-mps else). */
function planPipes({ step }: PlanInput, wanted: readonly string[]): { path: string; target: string }[] {
  const path = step.environment.get('CUDA_MPS_PIPE_DIRECTORY') ?? ''
  return wanted.includes('compute') && posix.isAbsolute(path) ? [{ path, target: path }] : []
}

function capabilitiesOf(input: PlanInput): { wanted: string[]; notes: string[] } {
  const said = presentValue(input, 'NVIDIA_DRIVER_CAPABILITIES')
  const words = (said === '' ? DEFAULT : said).split(',').map((word) => word.trim())
  const notes: string[] = []
  const wanted = new Set<string>()
  for (const word of words) {
    if (Object.hasOwn(CAPABILITIES, word) || word === COMPAT32) wanted.add(word)
    else if (Object.hasOwn(ALIASES, word)) for (const name of ALIASES[word] ?? []) wanted.add(name)
    else if (word !== '')
      notes.push(`NVIDIA_DRIVER_CAPABILITIES: ${word.slice(0, 40)} is unknown (${IMAGE_CONFIG} or step)`)
  }
  return { wanted: [...wanted], notes }
}

/** The file under each name that the host has for it: the loader asks for libcuda.so.1, programs also for libcuda.so. */
function planLibrary(path: string, names: readonly string[], at: string, why: Reason): PlannedMount[] {
  const name = posix.basename(path)
  const link = (other: string): PlannedMount => ({
    kind: 'symlink',
    target: posix.join(at, other),
    to: name,
    ...why,
  })
  return [bindFile(path, posix.join(at, name), why), ...names.map(link)]
}

function bindFile(source: string, target: string, why: Reason): PlannedMount {
  return {
    ...{ kind: 'bind', source, target, flags: ['ro', 'nosuid', 'nodev'], recursive: false, create: 'auto' },
    ...{ trusted: false, optional: true, replaceLink: true, ...why },
  }
}
