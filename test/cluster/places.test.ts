// SPDX-License-Identifier: Apache-2.0
/** Sites differ in where things live: private /run per node, private /tmp per job, cgroups that hold the step. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { without } from '../engine/engines.js'
import { holders } from '../engine/lookout.js'
import { suite } from '../suite.js'
import { type Cluster, type ClusterOptions, startCluster } from './cluster.js'
import { run, until } from './command.js'
import { exits, fails, lines, prints, says } from './expect.js'
import { otherRelease, type PublishedImages, publishImages } from './images.js'
import { startRegistry } from './registry.js'

const test = suite('places')
const codename = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']

async function within(
  options: ClusterOptions,
  body: (cluster: Cluster, images: PublishedImages) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(options)
  try {
    await body(cluster, await publishImages(await startRegistry(cluster.undo)))
  } finally {
    await cluster.stop()
  }
}

test('a runtime directory that only slurmd’s mount namespace has', () =>
  within({ nodes: [{ privateRun: true }, { privateRun: true }] }, async (cluster, images) => {
    const flag = `--container-image=${images.debian}`
    const had = existsSync('/run/berth')
    prints(await cluster.srun(['-N2', '-n2', flag, ...codename]), [otherRelease(), otherRelease()])
    assert.is(existsSync('/run/berth'), had, 'a worker of a node went to the host’s /run')
    assert.is.not(cluster.nodes[0]?.workerPid(), cluster.nodes[1]?.workerPid())
    prints(await cluster.batch('#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME\n', [flag]), [
      otherRelease(),
    ])
  }))

const PRIVATE_TMP: ClusterOptions = {
  nodes: [{ oneCpu: true }],
  base: '/var/tmp',
  slurmConf: ['JobContainerType=job_container/tmpfs', 'PrologFlags=Contain', 'JobRequeue=0'],
  confFiles: (dir) => ({ 'job_container.conf': `AutoBasePath=true\nBasePath=${dir}/jobs\n` }),
}

/** The job's private /tmp would hide the plugin. */
const hidden = import.meta.dirname.startsWith('/tmp/') ? 'the checkout lies below /tmp' : undefined

test.needs(hidden, 'job_container/tmpfs: the container hangs below the job’s own mounts', () =>
  within(PRIVATE_TMP, async (cluster, images) => {
    const marker = '/tmp/berth-host-marker'
    writeFileSync(marker, '')
    try {
      const flags = `--container-image=${images.debian} --container-mounts=/tmp:/job-tmp`
      const look = `${flags} sh -c 'cat /job-tmp/mine; ls /job-tmp | grep -c marker || true'`
      // An engine is started before anybody can tell of the job's namespaces: that one must not be used.
      const engines = without('crun') === undefined ? ['native', 'crun', 'crun'] : ['native']
      const steps = engines.map((name) => `srun -n1 --container-engine=${name} ${look}`)
      const script = ['echo of-the-job > /tmp/mine', ...steps].join('\n')
      const seen = await cluster.batch(`#!/bin/sh\n${script}\n`, ['-n1'])
      assert.equal(
        seen.stdout.trim().split('\n'),
        engines.flatMap(() => ['of-the-job', '0']),
        seen.output,
      )
      await until('the end of every engine', () => holders(cluster).length === 0)
    } finally {
      rmSync(marker)
    }
  }),
)

test.needs(hidden, 'job_container/tmpfs: the batch script itself in the image', () =>
  within(PRIVATE_TMP, async (cluster, images) => {
    const script = '#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME\n'
    const seen = await cluster.batch(script, [`--container-image=${images.debian}`])
    prints(seen, [otherRelease()])
  }),
)

const usesCgroups = existsSync('/sys/fs/cgroup/freezer') || existsSync('/sys/fs/cgroup/cgroup.controllers')

test.needs(
  usesCgroups ? undefined : 'no cgroup file system that Slurm can use',
  'proctrack/cgroup: the program is in the step’s cgroup, the worker is not, and memory limits hold',
  () =>
    within(
      {
        nodes: [{}],
        proctrack: 'cgroup',
        confFiles: () => ({ 'cgroup.conf': 'CgroupAutomount=no\nConstrainCores=no\nIgnoreSystemd=yes\n' }),
      },
      async (cluster, images) => {
        const args = ['-n1', `--container-image=${images.debian}`]
        const seen = lines(await cluster.srun([...args, 'cat', '/proc/self/cgroup']))
        assert.ok(
          seen.some((line) => /job_\d+\/step_0/.test(line)),
          seen.join('\n'),
        )
        const worker = readFileSync(`/proc/${cluster.nodes[0]?.workerPid()}/cgroup`, 'utf8')
        assert.not.match(worker, /job_|step_|slurm/)
        const step = cluster.start(['srun', ...args, '-J', 'ended', 'sh', '-c', 'sleep 300 & echo up; wait'])
        await step.sees(/up/)
        exits(await run(['scancel', '-n', 'ended'], { env: { SLURM_CONF: cluster.conf } }), 0)
        fails(await step.done)
        says(exits(await cluster.srun([...args, 'echo', 'next']), 0), /next/)
        await signalsReach(cluster, [...args, '--container-unshare=pid'])
        await signalsReach(cluster, [...args, `--container-save=${join(cluster.shared, 'saved.sqsh')}`])
      },
    ),
)

/** Slurm tells the task alone, which here is the launcher; the first process of a pid namespace is the step's. */
async function signalsReach(cluster: Cluster, args: readonly string[]): Promise<void> {
  // Process 1 is moved while the task starts, and no task waits for it.
  const script =
    'trap "echo got; done=1" USR1; echo up; while [ -z "$done" ]; do sleep 0.1; done; sleep 1; cat /proc/1/cgroup'
  const step = cluster.start(['srun', ...args, '-J', 'told', 'sh', '-c', script])
  await step.sees(/up/)
  exits(await run(['scancel', '-s', 'USR1', '-n', 'told'], { env: { SLURM_CONF: cluster.conf } }), 0)
  const seen = exits(await step.done, 0)
  assert.is(seen.stdout.match(/^got$/gm)?.length, 1, seen.output)
  if (args.includes('--container-unshare=pid')) says(seen, /job_\d+\/step_\d+/)
}

test.run()
