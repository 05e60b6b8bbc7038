// SPDX-License-Identifier: Apache-2.0
/**
 * GPUs and fabrics as their vendors' files describe them, on a node of stand-ins (stand_ins.ts) with real gres and
 * ConstrainDevices: what a step gets, and that what it does not get is denied.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { type Cluster, startCluster } from './cluster.js'
import { must, type Outcome } from './command.js'
import { exits, prints, refuses, says } from './expect.js'
import { publishImages } from './images.js'
import { leftForGood } from './leftovers.js'
import { publishMpi } from './mpi_images.js'
import { type Registry, startRegistry } from './registry.js'
import { GRES, makeStandIns, type StandIns, UUIDS, workedExamples } from './stand_ins.js'

const test = suite('devices of vendors')
/** Of version 2 Slurm 22.05 needs systemd's leave or a machine of its own. */
const needed = existsSync('/sys/fs/cgroup/devices') ? undefined : 'no version 1 hierarchy of devices'

let cluster: Cluster
let registry: Registry
let standIns: StandIns
let image = ''

test.before(async () => {
  if (needed !== undefined) return
  standIns = await makeStandIns()
  cluster = await startCluster({
    nodes: [{ namespace: standIns.namespace, privateRun: true }],
    berthConf: workedExamples(),
    slurmConf: [`GresTypes=${GRES.types}`],
    taskPlugin: 'cgroup',
    nodeConf: `Gres=${GRES.node}`,
    confFiles: () => ({
      'cgroup.conf': 'CgroupAutomount=no\nIgnoreSystemd=yes\nConstrainDevices=yes\n',
      'gres.conf': GRES.conf,
    }),
  })
  registry = await startRegistry(cluster.undo)
  image = (await publishImages(registry)).debian
  await must(['cp', standIns.looks, join(cluster.shared, 'looks')])
})
test.after(async () => {
  if (cluster === undefined) return
  await cluster.stop()
  standIns.remove()
  assert.equal(await leftForGood(cluster.dir), [])
})

function srun(gres: string, options: readonly string[], command: string): Promise<Outcome> {
  const mount = `--container-mounts=${cluster.shared}/looks:/looks`
  const words = gres === '' ? [] : [`--gres=${gres}`]
  return cluster.srun(['-n1', ...words, `--container-image=${image}`, mount, ...options, 'sh', '-c', command])
}

async function notes(gres: string, options: readonly string[] = []): Promise<string> {
  const plan = JSON.parse(exits(await srun(gres, [...options, '--container-explain'], 'true'), 0).stdout)
  return (plan.berth.notes as string[]).join('\n')
}

const LIB = '/usr/lib/x86_64-linux-gnu'

test.needs(
  needed,
  "a GPU of NVIDIA's comes with all that nvidia-ctk's file says, and no other opens",
  async () => {
    const command = [
      '/looks /dev/nvidia0 /dev/nvidia1 /dev/nvidia2 /dev/nvidiactl /dev/nvidia-caps/nvidia-cap12',
      '/looks libcuda.so.1 libcuda.so libnvidia-ml.so.1; nvidia-smi; echo "$NVIDIA_VISIBLE_DEVICES $LD_LIBRARY_PATH"',
      'ls /lib/firmware/nvidia/*; test -S /run/nvidia-persistenced/socket && echo socket',
      'ls /usr/share/vulkan/icd.d; readlink /usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so',
    ]
    prints(await srun('gpu:whole:1', [], command.join(';')), [
      '/dev/nvidia0 given',
      '/dev/nvidia1 denied',
      '/dev/nvidia2 denied',
      '/dev/nvidiactl given',
      '/dev/nvidia-caps/nvidia-cap12 denied',
      `libcuda.so.1 ${LIB}/libcuda.so.1`,
      `libcuda.so ${LIB}/libcuda.so.1`,
      `libnvidia-ml.so.1 ${LIB}/libnvidia-ml.so.1`,
      'stub of nvidia-smi',
      'void /opt/berth/slingshot:/opt/berth/gdrcopy:/opt/tool/lib',
      'gsp_ga10x.bin',
      'socket',
      'nvidia_icd.json',
      '../libnvidia-ml.so.1',
    ])
    const said = await notes('gpu:whole:1')
    assert.match(said, /nvidia\.com\/gpu=all: not given to this step: \/dev\/nvidia1, /)
    assert.match(said, /hook disable-device-node-modification is not needed/)
  },
)

/** Slurm gives the first of a type that is free. */
const NAMES = [
  ['gpu:whole:1', 'nvidia.com/gpu=0', true],
  ['gpu:whole:1', `nvidia.com/gpu=${UUIDS.whole}`, true],
  ['gpu:whole:1', 'nvidia.com/gpu=2', false],
  ['gpu:mig:1', 'nvidia.com/gpu=1:0', true],
  ['gpu:mig:1', `nvidia.com/gpu=${UUIDS.mig}`, true],
  ['gpu:mig:1', 'nvidia.com/gpu=0', false],
  ['gpu:amd:1', 'amd.com/gpu=0', true],
  ['gpu:amd:1', 'amd.com/gpu=all', true],
  ['gpu:amd:1', 'amd.com/gpu=1', false],
  ['', 'nvidia.com/gpu=all', false],
] as const

test.needs(needed, 'devices by index, UUID and MIG name, and of all: given is what Slurm gave', async () => {
  for (const [gres, name, given] of NAMES) {
    const seen = await srun(gres, [`--container-device=${name}`], 'echo runs')
    if (given) prints(seen, ['runs'])
    else refuses(seen, /BERTH_EDEVICE.*not given to this step/)
  }
})

test.needs(needed, 'a MIG instance opens its GPU and its own capabilities', async () => {
  prints(
    await srun(
      'gpu:mig:1',
      [],
      '/looks /dev/nvidia1 /dev/nvidia-caps/nvidia-cap12 /dev/nvidia-caps/nvidia-cap21 /dev/nvidia0; nvidia-smi',
    ),
    [
      '/dev/nvidia1 given',
      '/dev/nvidia-caps/nvidia-cap12 given',
      '/dev/nvidia-caps/nvidia-cap21 denied',
      '/dev/nvidia0 denied',
      'stub of nvidia-smi',
    ],
  )
})

test.needs(needed, "AMD's GPU opens, and ROCm is the site's where a profile has it", async () => {
  const looks =
    '/looks /dev/kfd /dev/dri/renderD129 /dev/dri/renderD130 libamdhip64.so.6 librccl-net.so; echo $ROCM_PATH'
  prints(await srun('gpu:amd:1', ['--container-device=amd.com/gpu=0', '--container-profile=rccl'], looks), [
    '/dev/kfd given',
    '/dev/dri/renderD129 given',
    '/dev/dri/renderD130 denied',
    'libamdhip64.so.6 /opt/rocm/lib/libamdhip64.so.6',
    'librccl-net.so /opt/berth/rccl/librccl-net.so',
    '/opt/rocm',
  ])
})

test.needs(
  needed,
  'Slingshot: the provider comes by itself, the device that is another step’s does not open',
  async () => {
    const looks =
      '/looks /dev/cxi0 /dev/cxi1 /dev/xpmem libfabric.so.1 libcxi.so.1 libxpmem.so.0 libgdrapi.so.2'
    prints(await srun('nic:cxi:1', [], `${looks}; echo $FI_MR_CACHE_MONITOR`), [
      '/dev/cxi0 given',
      '/dev/cxi1 denied',
      '/dev/xpmem given',
      'libfabric.so.1 /opt/berth/slingshot/libfabric.so.1',
      'libcxi.so.1 /opt/berth/slingshot/libcxi.so.1',
      'libxpmem.so.0 /opt/berth/slingshot/libxpmem.so.0',
      'libgdrapi.so.2 /opt/berth/gdrcopy/libgdrapi.so.2',
      'userfaultfd',
    ])
    const said = await notes('nic:cxi:1')
    assert.match(said, /fabric: Slingshot \(CXI\): 1 devices of /)
    assert.match(said, /fabric: Slingshot \(CXI\): not given to this step: \/dev\/cxi1/)
  },
)

test.needs(
  needed,
  'InfiniBand: its device opens and another’s does not, and the node’s drivers come with a profile',
  async () => {
    const looks = '/looks /dev/infiniband/uverbs0 /dev/infiniband/uverbs1 /dev/infiniband/rdma_cm'
    const libraries =
      'libibverbs.so.1 libmlx5.so.1 librdmacm.so.1 libsharp.so.5; cat /etc/libibverbs.d/mlx5.driver'
    prints(await srun('nic:ib:1', ['--container-profile=sharp'], `${looks} ${libraries}`), [
      '/dev/infiniband/uverbs0 given',
      '/dev/infiniband/uverbs1 denied',
      '/dev/infiniband/rdma_cm given',
      'libibverbs.so.1 /opt/berth/ib/libibverbs.so.1',
      'libmlx5.so.1 /opt/berth/ib/libmlx5.so.1',
      'librdmacm.so.1 /opt/berth/ib/librdmacm.so.1',
      'libsharp.so.5 /opt/mellanox/sharp/lib/libsharp.so.5',
      'driver mlx5',
    ])
    prints(await srun('', [], looks), [
      '/dev/infiniband/uverbs0 denied',
      '/dev/infiniband/uverbs1 denied',
      '/dev/infiniband/rdma_cm given',
    ])
  },
)

test.needs(
  needed,
  'Cray MPICH (stand-in) takes the place of an image’s, on the node’s fabric libraries, with PALS of mpi/cray_shasta',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-cray-'))
    try {
      const source = (name: string) => join(import.meta.dirname, name)
      const library = join(folder, 'libmpi.so.12')
      const program = join(folder, 'small')
      await must([
        'cc',
        '-shared',
        '-fPIC',
        '-Wl,-soname,libmpi.so.12',
        '-o',
        library,
        source('mpi_standin.c'),
      ])
      await must(['cc', '-o', program, source('mpi_small.c'), library])
      const own = await publishMpi(registry, 'none-trixie', { small: program }, [
        { name: 'usr/lib/x86_64-linux-gnu/libmpi.so.12', content: readFileSync(library) },
      ])
      const command = 'small; echo "rank $PALS_RANKID"; test -s "$PALS_APINFO" && echo apinfo'
      const run = (...options: string[]) =>
        cluster.srun([
          ...['-n1', '--mpi=cray_shasta', `--container-image=${own}`],
          ...[...options, 'sh', '-c', command],
        ])
      says(await run('--container-mpi=image'), /by a stand-in$/m)
      const replaced = await run('--container-profile=cray-mpich')
      says(replaced, /by a stand-in of Cray MPICH$/m)
      says(replaced, /^rank 0\napinfo$/m)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

test.run()
