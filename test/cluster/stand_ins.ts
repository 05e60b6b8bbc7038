// SPDX-License-Identifier: Apache-2.0
/**
 * A node that seems to have GPUs of two vendors and two fabrics. All are stand-ins: device nodes with numbers that no
 * driver has, at their real paths in a /dev of the node's own, and stubs of the libraries. Files that describe them are
 * as the vendors' toolkits write them.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { must } from './command.js'
import { CACHE_DIR } from './images.js'

/** Of local and experimental use (admin-guide/devices.txt). */
const MAJOR = 240
const DEVICES: Readonly<Record<string, number>> = {
  ...{ nvidia0: 0, nvidia1: 1, nvidia2: 2, nvidiactl: 10, 'nvidia-uvm': 11, 'nvidia-uvm-tools': 12 },
  ...{ 'nvidia-caps/nvidia-cap12': 20, 'nvidia-caps/nvidia-cap13': 21 },
  ...{ 'nvidia-caps/nvidia-cap21': 22, 'nvidia-caps/nvidia-cap22': 23 },
  ...{ kfd: 30, 'dri/card1': 31, 'dri/renderD129': 32, 'dri/card2': 33, 'dri/renderD130': 34 },
  ...{ cxi0: 40, cxi1: 41, 'infiniband/uverbs0': 42, 'infiniband/uverbs1': 43, 'infiniband/rdma_cm': 44 },
  ...{ gdrdrv: 45, xpmem: 46 },
}
/** The kernel makes them in its own /dev as they are asked for, not in the node's. */
const LOOP_DEVICES = 128

const DRIVER = '570.133.20'
const DRIVER_ROOT = '/run/nvidia/driver'
/** Library → what it asks for; all lie where the worked examples of docs/operators/profiles look for them. */
const FABRIC_LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  'usr/lib64/libcxi.so.1.5.0': [],
  'usr/lib64/libnl-3.so.200.26.0': [],
  'usr/lib64/libjson-c.so.5.1.0': [],
  'usr/lib64/libibverbs.so.1.14.50.0': [],
  'usr/lib64/libmlx5.so.1.24.50.0': ['libibverbs.so.1'],
  'usr/lib64/librdmacm.so.1.3.50.0': ['libibverbs.so.1'],
  'usr/lib64/libgdrapi.so.2.4': [],
  'opt/cray/libfabric/1.20.1/lib64/libfabric.so.1.23.1': ['libcxi.so.1'],
  'opt/cray/xpmem/default/lib64/libxpmem.so.0.0.0': [],
  'opt/cray/pe/lib64/libpmi.so.0.6.0': [],
  'opt/cray/pe/lib64/libpals.so.0.0.0': [],
  'opt/site/aws-ofi-rccl/lib/librccl-net.so': [],
  'opt/mellanox/sharp/lib/libsharp.so.5.0.0': [],
  'opt/rocm-6.2.0/lib/libamdhip64.so.6.2.60200': [],
}
const CRAY_MPICH = 'opt/cray/pe/mpich/8.1.29/ofi/gnu/11.2/lib-abi-mpich/libmpi.so.12.0.0'

export const GRES = {
  types: 'gpu,nic',
  node: 'gpu:whole:2,gpu:mig:2,gpu:amd:2,nic:cxi:2,nic:ib:2',
  conf: [
    'AutoDetect=off',
    'Name=gpu Type=whole File=/dev/nvidia0',
    'Name=gpu Type=whole File=/dev/nvidia2',
    'Name=gpu Type=mig MultipleFiles=/dev/nvidia1,/dev/nvidia-caps/nvidia-cap12,/dev/nvidia-caps/nvidia-cap13',
    'Name=gpu Type=mig MultipleFiles=/dev/nvidia1,/dev/nvidia-caps/nvidia-cap21,/dev/nvidia-caps/nvidia-cap22',
    'Name=gpu Type=amd MultipleFiles=/dev/dri/card1,/dev/dri/renderD129',
    'Name=gpu Type=amd MultipleFiles=/dev/dri/card2,/dev/dri/renderD130',
    ...['0', '1'].map((number) => `Name=nic Type=cxi File=/dev/cxi${number}`),
    ...['0', '1'].map((number) => `Name=nic Type=ib File=/dev/infiniband/uverbs${number}`),
    '',
  ].join('\n'),
}

export interface StandIns {
  /** For NodeOptions: makes the node's own /dev, /run, /opt, /etc and /usr/lib64. */
  namespace: string
  /** Tells of devices and libraries; for images with glibc. */
  looks: string
  remove(): void
}

export async function makeStandIns(): Promise<StandIns> {
  mkdirSync(CACHE_DIR, { recursive: true })
  // None but root can put files there: the node's libraries are read nowhere else.
  const base = mkdtempSync(join(CACHE_DIR, 'own-stand-ins-'))
  chmodSync(base, 0o755)
  const looks = join(base, 'looks')
  await must(['cc', '-o', looks, join(import.meta.dirname, 'looks.c')])
  writeDriver(base)
  for (const [path, needed] of Object.entries(FABRIC_LIBRARIES)) await compile(base, path, needed)
  await compile(base, CRAY_MPICH, ['libfabric.so.1', 'libpmi.so.0'], {
    source: 'mpi_standin.c',
    flags: ['-DNAME="a stand-in of Cray MPICH"'],
  })
  for (const path of ['libcuda.so.1', 'libnvidia-ml.so.1', 'libnvidia-ptxjitcompiler.so.1'])
    await compile(
      base,
      join('.', DRIVER_ROOT, 'usr/lib/x86_64-linux-gnu', path.replace('.so.1', `.so.${DRIVER}`)),
      [],
    )
  write(base, 'etc/libibverbs.d/mlx5.driver', 'driver mlx5\n')
  write(base, 'usr/lib64/libibverbs/libmlx5-rdmav34.so', '')
  symlinkSync('rocm-6.2.0', join(base, 'opt/rocm'))
  return { namespace: namespaceOf(base), looks, remove: () => rmSync(base, { recursive: true }) }
}

function write(base: string, path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(base, path)), { recursive: true })
  writeFileSync(join(base, path), text, { mode })
}

function writeDriver(base: string): void {
  const root = join('.', DRIVER_ROOT)
  write(base, join(root, 'usr/bin/nvidia-smi'), '#!/bin/sh\necho stub of nvidia-smi\n', 0o755)
  write(base, join(root, `lib/firmware/nvidia/${DRIVER}/gsp_ga10x.bin`), 'stub')
  write(base, join(root, 'usr/share/vulkan/icd.d/nvidia_icd.json'), '{}')
  write(base, 'run/cdi/nvidia.yaml', nvidiaCdi())
  write(base, 'run/cdi/amd.json', amdCdi())
}

/** SONAME: the name up to its first number. */
async function compile(
  base: string,
  path: string,
  needed: readonly string[],
  { source = '', flags = [] as readonly string[] } = {},
): Promise<void> {
  const target = join(base, path)
  mkdirSync(dirname(target), { recursive: true })
  const name = basename(path)
  const soname = path.includes(DRIVER)
    ? name.replace(DRIVER, '1')
    : (/^.*\.so(\.\d+)?/.exec(name)?.[0] ?? name)
  const stub = join(base, 'stub.c')
  writeFileSync(stub, 'int stub(void) { return 7; }\n')
  const input = source === '' ? stub : join(import.meta.dirname, source)
  const libraries = needed.map((one) => {
    const file = Object.keys(FABRIC_LIBRARIES).find((other) => basename(other).startsWith(one))
    return join(base, file ?? one)
  })
  const where = libraries.map((one) => `-Wl,-rpath,/${dirname(one.slice(base.length + 1))}`)
  const shared = ['-shared', '-fPIC', `-Wl,-soname,${soname}`, '-Wl,--no-as-needed', '-Wl,--enable-new-dtags']
  await must(['cc', ...shared, ...flags, ...where, '-o', target, input, ...libraries])
  // Drivers leave the names to ldconfig, as CDI's hooks do.
  if (soname !== name && !path.includes(DRIVER)) symlinkSync(name, join(dirname(target), soname))
}

function namespaceOf(base: string): string {
  const dev = join(base, 'dev')
  const nodes = Object.entries(DEVICES).map(([path, minor]) => {
    return `mkdir -p ${dirname(join(dev, path))} && mknod -m 666 ${join(dev, path)} c ${MAJOR} ${minor}`
  })
  const over = ['/opt', '/etc', '/usr/lib64'].map(
    (path) => `mount -t overlay -o lowerdir=${base}${path}:${path} overlay ${path}`,
  )
  const socket =
    'import os,socket; os.mkdir("/run/nvidia-persistenced"); socket.socket(socket.AF_UNIX).bind("/run/nvidia-persistenced/socket")'
  return [
    'set -e',
    `mkdir ${dev}`,
    `mount -t tmpfs -o mode=755 tmpfs ${dev}`,
    `find /dev -mindepth 1 -maxdepth 1 ! -type d -exec cp -a -t ${dev} {} +`,
    `for d in pts shm mqueue; do [ ! -d /dev/$d ] || { mkdir ${dev}/$d; mount --rbind /dev/$d ${dev}/$d; }; done`,
    `for i in $(seq 0 ${LOOP_DEVICES}); do [ -e ${dev}/loop$i ] || mknod ${dev}/loop$i b 7 $i; done`,
    ...nodes,
    `mount --rbind ${dev} /dev`,
    `cp -a ${base}/run/. /run/`,
    `python3 -c '${socket}'`,
    ...over,
  ].join('\n')
}

/** The three worked examples of the operators' documentation as they are, in one file: plain settings come first. */
export function workedExamples(): string {
  const folder = resolve(import.meta.dirname, '../../docs/operators/profiles')
  return ['infiniband-nvidia', 'cray-slingshot', 'amd-gpu']
    .map((name) => readFileSync(join(folder, `${name}.conf`), 'utf8'))
    .join('\n')
}

export const UUIDS = {
  whole: 'GPU-1f2b6a3c-0d1e-4b5f-9c77-8d9e0a1b2c3d',
  mig: 'MIG-6f0a8a6e-5b0f-5c5e-9f2e-0c1d2e3f4a5b',
} as const

interface NvidiaDevice {
  names: readonly string[]
  nodes: readonly string[]
}

const NVIDIA: readonly NvidiaDevice[] = [
  { names: ['0', UUIDS.whole], nodes: ['nvidia0'] },
  { names: ['1:0', UUIDS.mig], nodes: ['nvidia1', 'nvidia-caps/nvidia-cap12', 'nvidia-caps/nvidia-cap13'] },
  { names: ['1:1'], nodes: ['nvidia1', 'nvidia-caps/nvidia-cap21', 'nvidia-caps/nvidia-cap22'] },
  { names: ['2'], nodes: ['nvidia2'] },
]

/** As `nvidia-ctk cdi generate --driver-root=/run/nvidia/driver --device-name-strategy=index,uuid` writes it (1.17). */
function nvidiaCdi(): string {
  const all: NvidiaDevice = { names: ['all'], nodes: [...new Set(NVIDIA.flatMap(({ nodes }) => nodes))] }
  const devices = [...NVIDIA, all].flatMap(({ names, nodes }) =>
    names.map(
      (name) => `    - containerEdits:
        deviceNodes:
${nodes.map((node) => `            - hostPath: /dev/${node}\n              path: /dev/${node}`).join('\n')}
        hooks:
            - args: [nvidia-cdi-hook, chmod, --mode, "755", --path, /dev/nvidia-caps]
              env: [NVIDIA_CTK_DEBUG=false]
              hookName: createContainer
              path: /usr/bin/nvidia-cdi-hook
      name: "${name}"`,
    ),
  )
  const lib = '/usr/lib/x86_64-linux-gnu'
  const hooks = [
    [
      'create-symlinks',
      '--link',
      `libcuda.so.1::${lib}/libcuda.so`,
      '--link',
      `../libnvidia-ml.so.1::${lib}/gbm/nvidia-drm_gbm.so`,
    ],
    ['enable-cuda-compat', `--host-driver-version=${DRIVER}`],
    ['update-ldcache', '--folder', lib],
    ['disable-device-node-modification'],
  ]
  const files = [
    ...['libcuda.so', 'libnvidia-ml.so', 'libnvidia-ptxjitcompiler.so'].map(
      (name) => `${lib}/${name}.${DRIVER}`,
    ),
    '/usr/bin/nvidia-smi',
    `/lib/firmware/nvidia/${DRIVER}/gsp_ga10x.bin`,
    '/usr/share/vulkan/icd.d/nvidia_icd.json',
  ]
  const mount = (from: string, to: string, options: string) =>
    `        - containerPath: ${to}\n          hostPath: ${from}\n          options: [${options}]`
  return `---
cdiVersion: 0.5.0
containerEdits:
    deviceNodes:
        - path: /dev/nvidia-uvm
        - path: /dev/nvidia-uvm-tools
        - path: /dev/nvidiactl
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    hooks:
${hooks.map((words) => `        - args: ${JSON.stringify(['nvidia-cdi-hook', ...words])}\n          env: [NVIDIA_CTK_DEBUG=false]\n          hookName: createContainer\n          path: /usr/bin/nvidia-cdi-hook`).join('\n')}
    mounts:
${files.map((path) => mount(`${DRIVER_ROOT}${path}`, path, 'ro, nosuid, nodev, rbind, rprivate')).join('\n')}
${mount('/run/nvidia-persistenced/socket', '/run/nvidia-persistenced/socket', 'ro, nosuid, nodev, rbind, rprivate, noexec')}
devices:
${devices.join('\n')}
kind: nvidia.com/gpu
`
}

/** As `amd-ctk cdi generate` writes it, but for the numbers. */
function amdCdi(): string {
  const node = (name: string) => {
    const path = `/dev/${name}`
    return { path, hostPath: path, type: 'c', major: MAJOR, minor: DEVICES[name], permissions: 'rw' }
  }
  const gpus = [
    ['dri/card1', 'dri/renderD129'],
    ['dri/card2', 'dri/renderD130'],
  ]
  return JSON.stringify({
    cdiVersion: '0.6.0',
    kind: 'amd.com/gpu',
    devices: [
      ...gpus.map((nodes, index) => ({
        name: String(index),
        containerEdits: { deviceNodes: nodes.map(node) },
      })),
      { name: 'all', containerEdits: { deviceNodes: gpus.flat().map(node) } },
    ],
    containerEdits: { deviceNodes: [node('kfd')] },
  })
}
