// SPDX-License-Identifier: Apache-2.0
/** What a task of a step sees and gives back: the program, its exit, its ids, its namespaces. */
import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { exits, lines, prints, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { hostRelease, otherRelease, publishLike } from './images.js'
import { makeTar } from './tar.js'
import { USER_A } from './users.js'

const test = suite('step')
const at = useCluster(test)
const inside = (args: readonly string[], ...command: string[]): string[] => [
  ...args,
  `--container-image=${at.images.debian}`,
  ...command,
]
const codename = (release: string): string => `VERSION_CODENAME=${release}`

test('two nodes, four tasks: each sees the release of the image', async () => {
  const seen = await at.cluster.srun(inside(['-N2', '-n4'], 'grep', 'CODENAME', '/etc/os-release'))
  prints(seen, Array(4).fill(codename(otherRelease())))
})

test('a warm start says nothing', async () => {
  const seen = exits(await at.cluster.srun(inside(['-N1', '-n2'], 'true')), 0)
  // Slurm itself may say that the job was queued.
  saysNot(seen, /berth|import/i)
})

test('two lines for each start where a script counts them', async () => {
  const told = await at.cluster.srun(['-N1', '-n2', `--container-image=${at.images.debian}`, 'true'], {
    env: { BERTH_PROGRESS: 'always' },
  })
  says(told, /^berth: importing .*\nberth: imported .*stored before\)$/m)
  assert.is(told.output.match(/berth/g)?.length, 2)
})

test('inside an allocation a cold image is two lines and the program’s own, and what srun is given counts', async () => {
  const layer = makeTar([{ name: 'cold', content: 'x' }])
  const image = await publishLike(at.registry, 'cold', { layers: [layer] })
  const show = `sh -c 'echo $SLURM_PROCID $PWD $MINE'`
  const step = `srun -N1 --oversubscribe -n2 --container-image=${image}`
  const given = `MINE=inner PYXIS_CONTAINER_WORKDIR=/etc ${step} ${show} 2>&1`
  const run = { env: { MINE: 'outer', PYXIS_CONTAINER_WORKDIR: '/tmp' } }
  const told = lines(await at.cluster.salloc(['-N1', '-n2', 'sh', '-c', `${given}; ${given}`], run))
  // Slurm may say that the step before has not quite ended.
  const seen = told.filter((line) => !line.startsWith('srun: '))
  assert.match(seen[0] ?? '', /^berth: importing /)
  assert.match(seen[1] ?? '', /^berth: imported /)
  assert.equal(seen.slice(2, 4).sort(), ['0 /etc inner', '1 /etc inner'])
  assert.equal(seen.slice(4).sort(), ['0 /etc inner', '1 /etc inner'])
})

test('without a flag the host runs', async () => {
  prints(
    await at.cluster.srun(['-N2', 'grep', 'CODENAME', '/etc/os-release']),
    Array(2).fill(codename(hostRelease())),
  )
})

test('exit codes come back', async () => {
  for (const code of [0, 1, 3, 77, 124, 200]) {
    exits(await at.cluster.srun(inside(['-n1'], 'sh', '-c', `exit ${code}`)), code)
  }
})

test('the highest exit code of several tasks comes back', async () => {
  exits(await at.cluster.srun(inside(['-n4'], 'sh', '-c', 'exit $SLURM_PROCID')), 3)
})

test('death by a signal comes back as with bare srun', async () => {
  for (const signal of ['TERM', 'SEGV', 'KILL']) {
    const bare = await at.cluster.srun(['-n1', 'sh', '-c', `kill -${signal} $$`])
    const contained = await at.cluster.srun(inside(['-n1'], 'sh', '-c', `kill -${signal} $$`))
    assert.is(contained.code, bare.code, signal)
  }
})

test('a program that is not there: 127, and the name', async () => {
  says(exits(await at.cluster.srun(inside(['-n1'], 'no-such-program')), 127), /no-such-program/)
})

test('a file that is not executable: 126', async () => {
  exits(await at.cluster.srun(inside(['-n1'], '/opt/tool/bin/not-executable')), 126)
  exits(await at.cluster.srun(inside(['-n1'], '/etc')), 126)
})

test("a program is found by the image's PATH", async () => {
  prints(await at.cluster.srun(inside(['-n1'], 'hello-tool', 'a', 'b')), ['hello from the image, a b'])
})

test('arguments arrive as they are', async () => {
  const odd = ['a b', '', '*', '$HOME', 'quote"\'', 'ü', '--container-image=none', 'line\nbreak']
  const seen = exits(await at.cluster.srun(inside(['-n1'], 'printf', '[%s]', ...odd)), 0)
  assert.is(seen.stdout, odd.map((word) => `[${word}]`).join(''))
})

test('stdin reaches the program', async () => {
  prints(await at.cluster.srun(inside(['-n1'], 'cat'), { input: 'through the pipe\n' }), ['through the pipe'])
})

test('an image with nothing but one binary works', async () => {
  const image = `--container-image=${at.images.scratch}`
  says(
    exits(await at.cluster.srun(['-n1', image, '/probe']), 0),
    new RegExp(`scratch uid=${USER_A.uid} gid=${USER_A.uid}`),
  )
  exits(await at.cluster.srun(['-n1', image, '/probe', 'exit', '9']), 9)
})

test('uid, gid and all groups are the user’s', async () => {
  const seen = lines(await at.cluster.srun(inside(['-n1'], 'sh', '-c', 'id -u; id -g; id -G')))
  const groups = [USER_A.uid, ...USER_A.groups.map(([, gid]) => gid)]
  assert.equal(seen.slice(0, 2), [String(USER_A.uid), String(USER_A.uid)])
  assert.equal((seen[2] ?? '').split(' ').map(Number).sort(), groups.sort())
})

test('the user has a name and the host a name', async () => {
  prints(await at.cluster.srun(inside(['-n1'], 'sh', '-c', 'id -un; cat /proc/sys/kernel/hostname')), [
    USER_A.name,
    hostname(),
  ])
})

test('files of root in the image are the user’s to read', async () => {
  const seen = await at.cluster.srun(
    inside(['-n1'], 'sh', '-c', 'cat /opt/tool/secret; stat -c %u /opt/tool/secret'),
  )
  prints(seen, ["only the image's root may read this", String(USER_A.uid)])
})

test('later layers hide and replace what earlier ones brought', async () => {
  const script =
    'ls /opt/tool/opaque; ls /opt/tool | grep -c removed; cat /opt/tool/link; stat -c %h /opt/tool/second'
  prints(await at.cluster.srun(inside(['-n1'], 'sh', '-c', script)), ['above', '0', 'linked', '2'])
})

test('eight tasks of a node share one user and one mount namespace, not the host’s', async () => {
  const script = 'readlink /proc/self/ns/user /proc/self/ns/mnt | tr "\\n" " "; echo'
  const seen = lines(await at.cluster.srun(inside(['-N1', '-n8'], 'sh', '-c', script)))
  assert.is(seen.length, 8)
  assert.is(new Set(seen).size, 1, seen.join('\n'))
  assert.not.ok(seen[0]?.includes(readlinkSync('/proc/self/ns/user')))
  assert.not.ok(seen[0]?.includes(readlinkSync('/proc/self/ns/mnt')))
})

test('pid, ipc, net and uts namespaces stay the job’s', async () => {
  const kinds = ['pid', 'ipc', 'net', 'uts']
  const script = kinds.map((kind) => `readlink /proc/self/ns/${kind}`).join('; ')
  prints(
    await at.cluster.srun(inside(['-n1'], 'sh', '-c', script)),
    kinds.map((kind) => readlinkSync(`/proc/self/ns/${kind}`)),
  )
})

test('nosuid, nodev, no_new_privs; no capability is left', async () => {
  const script = "grep -E 'NoNewPrivs|CapEff' /proc/self/status; grep ' / / ' /proc/self/mountinfo"
  const seen = exits(await at.cluster.srun(inside(['-n1'], 'sh', '-c', script)), 0)
  says(seen, /NoNewPrivs:\s+1/)
  says(seen, /CapEff:\s+0000000000000000/)
  for (const flag of ['nosuid', 'nodev']) says(seen, new RegExp(` / / \\S*${flag}`))
})

test('tmp is private and writable, sys is read-only, dev/null and dev/shm work', async () => {
  const script = [
    'echo x > /tmp/mine && cat /tmp/mine',
    'echo y > /dev/null && echo null',
    'echo z > /dev/shm/berth-test-$$ && rm /dev/shm/berth-test-$$ && echo shm',
    "grep ' /sys ' /proc/self/mountinfo | grep -q ' ro,' && echo sys",
    'test -r /etc/resolv.conf && test -r /etc/hosts && echo etc',
  ].join('; ')
  prints(await at.cluster.srun(inside(['-n1'], 'sh', '-c', script)), ['x', 'null', 'shm', 'sys', 'etc'])
})

test('the PMI2 descriptor survives', async () => {
  const script = 'readlink /proc/self/fd/$PMI_FD; echo rank $PMI_RANK of $PMI_SIZE'
  const seen = exits(await at.cluster.srun(inside(['-n2', '--mpi=pmi2'], 'sh', '-c', script)), 0)
  says(seen, /socket:/)
  for (const rank of [0, 1]) says(seen, new RegExp(`rank ${rank} of 2`))
})

test('PMIx directories and ranks are there', async () => {
  const script = 'test -d "$PMIX_SERVER_TMPDIR" && echo rank $PMIX_RANK'
  prints(await at.cluster.srun(inside(['-n2', '--mpi=pmix'], 'sh', '-c', script)), ['rank 0', 'rank 1'])
})

test('a signal sent by scancel reaches the program', async () => {
  const step = at.cluster.start([
    'srun',
    ...inside(
      ['-n1', '-J', 'usr1'],
      'sh',
      '-c',
      'trap "echo caught; exit 5" USR1; echo ready; while :; do sleep 0.1; done',
    ),
  ])
  await step.sees(/ready/)
  const job = (await at.cluster.command(['squeue', '-h', '-n', 'usr1', '-o', '%A'])).stdout.trim()
  exits(await at.cluster.command(['scancel', '--signal=USR1', `${job}.0`]), 0)
  says(exits(await step.done, 5), /caught/)
})

test('nothing follows the payload’s last line, whatever is cleaned up, saved or kept', async () => {
  const seen = exits(await at.cluster.srun(inside(['-n2'], 'echo', 'last')), 0)
  saysNot(seen, /last\n[^l]/)
  const ways = [
    ['--container-remap-root', '--container-mount-home'],
    ['--container-writable', `--container-save=${join(at.cluster.shared, 'last.sqsh')}`],
    ['--container-name=last'],
    ['--container-unshare=net,ipc,uts', '--container-entrypoint'],
    ['--container-unshare=pid', '--mpi=pmix'],
  ]
  for (const way of ways) {
    // Both outputs in one, as scripts read them.
    const words = ['srun', ...inside(['-N1', '-n1', ...way], 'sh', '-c', 'echo first; echo last')]
    const told = await at.cluster.command(['sh', '-c', 'exec "$@" 2>&1', 'sh', ...words])
    assert.equal(lines(told).slice(-2), ['first', 'last'], told.output)
    const failed = await at.cluster.srun(inside(['-N1', '-n1', ...way], 'sh', '-c', 'echo last; exit 3'))
    saysNot(exits(failed, 3), /last\n(.*\n)*.*berth/)
  }
})

test.run()
