// SPDX-License-Identifier: Apache-2.0
/** A node with GPUs, an MPICH and a fabric, and an image with an MPICH of its own: all of it plain data. */
import type { ImageFacts } from '../../src/image/facts.js'
import type { AcceleratorFacts, HostNode } from '../../src/plan/accelerators.js'
import type { HostFacts, HostLibrary } from '../../src/plan/host.js'
import { parseCdi } from '../../src/site/cdi_spec.js'
import { NVIDIA_YAML } from '../unit/cdi_samples.js'

const X86_64 = 62
const LIB = '/usr/lib/x86_64-linux-gnu'
const CDI_FILE = '/etc/cdi/nvidia.yaml'

export const IMAGE_FACTS: Partial<ImageFacts> = {
  libc: { kind: 'glibc', version: '2.36', path: `${LIB}/libc.so.6`, machine: X86_64 },
  mpi: [
    {
      family: 'mpich',
      major: 12,
      libraries: [
        { role: 'c', path: `${LIB}/libmpich.so.12.2.2`, soname: 'libmpich.so.12', names: [], wants: [] },
      ],
      functions: ['MPI_Init'],
      wants: ['MPI_Init'],
      users: { count: 1, example: '/opt/app' },
      runtimes: [],
    },
  ],
  libraries: {},
  cache: [],
  truncated: false,
}

export const NODE_FACTS: HostFacts = {
  machine: 'x86_64',
  accelerators: accelerators(),
  mpi: [
    {
      family: 'mpich',
      major: 12,
      machine: X86_64,
      libraries: {
        c: { ...library('libmpi.so.12', '/opt/mpich/lib/libmpi.so.12.3.0'), defines: new Set(['MPI_Init']) },
      },
      dependencies: new Map([['libcxi.so.1', library('libcxi.so.1', '/usr/lib64/libcxi.so.1.5.0')]]),
      missing: [],
      origin: '/etc/berth/berth.conf:9',
      named: true,
    },
  ],
}

function library(name: string, path: string): HostLibrary {
  const needed = name.startsWith('libmpi') ? ['libcxi.so.1'] : []
  return { name, path, soname: name, needed, glibc: '2.34', runtime: [] }
}

/** Two GPUs, of which the step has the first. */
function accelerators(): AcceleratorFacts {
  const spec = parseCdi(CDI_FILE, NVIDIA_YAML)
  const node = (path: string, minor: number, allowed = true): [string, HostNode] => [
    path,
    { type: 'c', major: 195, minor, allowed },
  ]
  return {
    cdi: {
      devices: new Map(
        spec.devices.map((device) => [`${spec.kind}=${device.name}`, { device, spec, file: CDI_FILE }]),
      ),
      conflicts: new Map(),
      problems: [],
    },
    nodes: new Map([
      node('/dev/nvidia0', 0),
      node('/dev/nvidia1', 1, false),
      node('/dev/nvidiactl', 255),
      node('/dev/cxi0', 0),
    ]),
    paths: new Set(['/usr/lib64/libcuda.so.550.54.15', '/usr/bin/nvidia-smi', '/run/cxi']),
    links: new Map([['/usr/lib64/libcuda.so.550.54.15', ['libcuda.so', 'libcuda.so.1']]]),
    needs: new Map([['/usr/lib64/libcuda.so.550.54.15', { bits: 64, glibc: '2.17' }]]),
    globs: new Map([
      ['/dev/nvidia[0-9]*', ['/dev/nvidia0', '/dev/nvidia1']],
      ['/dev/cxi[0-9]*', ['/dev/cxi0']],
      ['/dev/cxi0', ['/dev/cxi0']],
      ['/opt/cray/libfabric/1.20.1/lib64/libfabric.so*', ['/opt/cray/libfabric/1.20.1/lib64/libfabric.so.1']],
      ['/projects/ada', ['/projects/ada']],
    ]),
    hooks: new Map([
      [
        '/etc/site/hooks',
        [
          {
            ...{
              file: '/etc/site/hooks/track.json',
              path: '/usr/libexec/site/track',
              args: ['track', '--fast'],
            },
            ...{ env: ['SITE=1'], timeout: 5, stages: ['createRuntime', 'poststop'] },
            when: { always: true, annotations: {}, commands: [] },
          },
        ],
      ],
    ]),
  }
}
