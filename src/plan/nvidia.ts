// SPDX-License-Identifier: Apache-2.0
/**
 * NVIDIA without a CDI file: the driver's libraries and programs of the host, by the words that images have for NVIDIA's
 * own toolkit (NVIDIA_VISIBLE_DEVICES, NVIDIA_DRIVER_CAPABILITIES, NVIDIA_REQUIRE_*). They go where CUDA images look:
 * /usr/local/nvidia, which is in their PATH and in their loader's directories.
 */
import { posix } from 'node:path'
import { BerthError } from '../report/errors.js'
import type { NvidiaDriver } from './accelerators.js'
import { insideRoot } from './cwd.js'
import { IMAGE_CONFIG, type PlanInput } from './input.js'
import { planLoader } from './loader.js'
import { checkRequirements } from './nvidia_require.js'
import type { PlannedMount, Reason } from './spec.js'
import { presentValue, type VariableEdits } from './variables.js'

export const NVIDIA_LIBRARIES_DIR = '/usr/local/nvidia/lib64'
export const NVIDIA_PROGRAMS_DIR = '/usr/local/nvidia/bin'

/** Which library and program belongs to what (nvidia-container-toolkit, libnvidia-container nvc_info.c). */
const CAPABILITIES: Readonly<Record<string, RegExp>> = {
  compute:
    /^(lib(cuda|cudadebugger|nvidia-(opencl|ptxjitcompiler|nvvm\d*|gpucomp|fatbinaryloader|allocator|compiler|pkcs11.*|tileiras))\.so|nvidia-cuda-mps-(control|server)$|nvidia\.icd$|nvidia-mps$)/,
  utility: /^(libnvidia-(ml|cfg|nscq|sandboxutils)\.so|nvidia-(smi|debugdump|persistenced)$|socket$)/,
  video: /^lib(vdpau_nvidia|nvcuvid|nvidia-(encode|opticalflow))\.so/,
  graphics:
    /^(lib(GLX_nvidia|EGL_nvidia|GLESv2_nvidia|GLESv1_CM_nvidia|nvoptix|nvidia-(eglcore|glcore|tls|glsi|fbc|ifr|rtcore|glvkspirv|cbl|ngx|egl-.*|gpucomp|vulkan-producer))\.so|10_nvidia\.json$|nvidia_(icd|layers).*\.json$)/,
  display: /^lib(GLX_nvidia|EGL_nvidia|nvidia-(glcore|eglcore|tls|glsi))\.so/,
}
/** Words of the toolkit that berth has nothing else for. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  all: Object.keys(CAPABILITIES),
  compat32: [],
  ngx: ['graphics'],
  vulkan: ['graphics'],
}
/** Where nobody says: what a program that computes and nvidia-smi need; the toolkit has "utility" alone. */
const DEFAULT = 'compute,utility'

export interface NvidiaEdits {
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
  const libraries = driver.libraries.filter(({ path }) => has(path))
  const programs = driver.binaries.filter(has)
  const files = [...driver.files.filter(({ path }) => has(path)), ...planPipes(input, wanted)]
  const mounts = [
    ...libraries.flatMap(({ path, names }) => planLibrary(path, names, why)),
    ...programs.map((path) => bindFile(path, posix.join(NVIDIA_PROGRAMS_DIR, posix.basename(path)), why)),
    ...files.map(({ path, target }) => bindFile(path, insideRoot(target), why)),
  ]
  notes.unshift(
    `NVIDIA driver ${driver.version}: ${libraries.length} libraries, ${programs.length} programs (${wanted.join(', ')})`,
  )
  if (libraries.length > 0) notes.push(...planLoader(variables, [NVIDIA_LIBRARIES_DIR], 'append', why))
  if (programs.length > 0) variables.extend('PATH', [NVIDIA_PROGRAMS_DIR], 'append', why)
  return { mounts, notes }
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
    if (Object.hasOwn(CAPABILITIES, word)) wanted.add(word)
    else if (Object.hasOwn(ALIASES, word)) for (const name of ALIASES[word] ?? []) wanted.add(name)
    else if (word !== '')
      notes.push(`NVIDIA_DRIVER_CAPABILITIES: ${word.slice(0, 40)} is unknown (${IMAGE_CONFIG} or step)`)
  }
  return { wanted: [...wanted], notes }
}

/** The file under each name that the host has for it: the loader asks for libcuda.so.1, programs also for libcuda.so. */
function planLibrary(path: string, names: readonly string[], why: Reason): PlannedMount[] {
  const name = posix.basename(path)
  const link = (other: string): PlannedMount => ({
    kind: 'symlink',
    target: posix.join(NVIDIA_LIBRARIES_DIR, other),
    to: name,
    ...why,
  })
  return [bindFile(path, posix.join(NVIDIA_LIBRARIES_DIR, name), why), ...names.map(link)]
}

function bindFile(source: string, target: string, why: Reason): PlannedMount {
  return {
    ...{ kind: 'bind', source, target, flags: ['ro', 'nosuid', 'nodev'], recursive: false, create: 'auto' },
    ...{ trusted: false, optional: true, replaceLink: true, ...why },
  }
}
