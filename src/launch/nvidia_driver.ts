// SPDX-License-Identifier: Apache-2.0
/** The files of the host's NVIDIA driver: found by name, never opened or run. */
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { HostLibrary, NvidiaDriver } from '../plan/accelerators.js'

/** Where distributions and NVIDIA's installer put them (nvidia-container-toolkit, internal/lookup). */
const LIBRARY_DIRS = [
  '/usr/lib64',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib',
  '/lib64',
]
/** Of programs of 32 bits; Red Hat's /usr/lib counts where /usr/lib64 has the same names. */
const LIBRARY32_DIRS = ['/usr/lib/i386-linux-gnu', '/usr/lib32']
const SHARED_DIR = '/usr/lib'
const NESTED_DIRS = ['', 'nvidia', 'nvidia/current', 'vdpau']
const LIBRARY =
  /^lib(cuda|cudadebugger|nvcuvid|nvoptix|vdpau_nvidia|GLX_nvidia|EGL_nvidia|GLESv2_nvidia|GLESv1_CM_nvidia|nvidia-[\w-]+)\.so(\.[\d.]+)?$/
const PROGRAMS = [
  'nvidia-smi',
  'nvidia-debugdump',
  'nvidia-persistenced',
  'nvidia-cuda-mps-control',
  'nvidia-cuda-mps-server',
  'nvidia-ngx-updater',
]
const FILES = [
  '/etc/OpenCL/vendors/nvidia.icd',
  '/usr/share/glvnd/egl_vendor.d/10_nvidia.json',
  '/usr/share/vulkan/icd.d/nvidia_icd.json',
  '/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json',
  '/usr/share/vulkan/implicit_layer.d/nvidia_layers.json',
]
/** Of programs on the host, wherever the driver's files are. */
const OF_HOST = ['/run/nvidia-persistenced/socket', '/run/nvidia-fabricmanager/socket', '/tmp/nvidia-mps']
/** libcuda's own file is named by the driver's release. */
const CUDA = /^libcuda\.so\.(\d+(?:\.\d+){1,3})$/

interface Known {
  stamp: string
  driver: NvidiaDriver | undefined
}

const known = new Map<string, Known>()

/** @param root of the driver's files, "/" or where a driver container has them */
export function findNvidiaDriver(root: string): NvidiaDriver | undefined {
  const below = (places: readonly string[]) =>
    places.flatMap((place) => NESTED_DIRS.map((nested) => join(root, place, nested)))
  const [directories, directories32] = [below(LIBRARY_DIRS), below(LIBRARY32_DIRS)]
  const stamp = [...directories, ...directories32].map(stampOf).join(' ')
  const before = known.get(root)
  if (before?.stamp === stamp) return before.driver
  const driver = search(root, directories, directories32)
  known.set(root, { stamp, driver })
  return driver
}

function search(
  root: string,
  directories: readonly string[],
  directories32: readonly string[],
): NvidiaDriver | undefined {
  const libraries = firstOfEach(directories.flatMap(librariesIn))
  const isMain = ({ path }: HostLibrary) => libraries.some((library) => library.path === path)
  const shared = librariesIn(join(root, SHARED_DIR)).filter((library) => !isMain(library))
  const libraries32 = firstOfEach([...directories32.flatMap(librariesIn), ...shared])
  const version = libraries
    .map(({ path }) => CUDA.exec(basename(path))?.[1])
    .find((found) => found !== undefined)
  if (version === undefined) return undefined
  const there = (paths: readonly string[]) =>
    paths.map((path) => join(root, path)).filter((path) => existsSync(path))
  return {
    version,
    libraries,
    libraries32,
    binaries: there(PROGRAMS.map((name) => `/usr/bin/${name}`)),
    files: [
      ...FILES.map((target) => ({ path: join(root, target), target })),
      ...OF_HOST.map((path) => ({ path, target: path })),
    ].filter(({ path }) => existsSync(path)),
  }
}

/** /lib64 and /usr/lib64 are one directory, or hold two builds of one library: the first counts. */
function firstOfEach(libraries: readonly HostLibrary[]): HostLibrary[] {
  const names = libraries.map(({ path }) => basename(path))
  return libraries.filter((_, index) => names.indexOf(names[index] ?? '') === index)
}

function librariesIn(directory: string): HostLibrary[] {
  const links = otherNames(directory, (name) => LIBRARY.test(name))
  return [...links].map(([path, names]) => ({ path, names }))
}

/** Files in a directory that are no links, each with the links beside it that lead there, by however many steps. */
export function otherNames(directory: string, wanted: (name: string) => boolean): Map<string, string[]> {
  const files = new Map<string, string[]>()
  const links = new Map<string, string>()
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (!wanted(entry.name)) continue
      if (entry.isSymbolicLink()) links.set(entry.name, readlinkSync(join(directory, entry.name)))
      else if (entry.isFile()) files.set(entry.name, [])
    }
  } catch {
    return new Map()
  }
  for (const name of links.keys()) {
    let at = name
    for (let steps = 0; links.has(at) && steps < links.size; steps++) {
      const to = links.get(at) ?? ''
      at = dirname(to) === '.' || dirname(to) === directory ? basename(to) : ''
    }
    files.get(at)?.push(name)
  }
  return new Map([...files].map(([name, names]) => [join(directory, name), names.sort()]))
}

function stampOf(directory: string): string {
  try {
    const { ino, mtimeMs } = statSync(directory)
    return `${ino}:${mtimeMs}`
  } catch {
    return '-'
  }
}
