// SPDX-License-Identifier: Apache-2.0
/** slurmstepd and prolog with berth.so: what the worker is told, and what its answers make of a step. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, PROTOCOL_VERSION, Tag, Type } from '../../../src/worker/frame.js'
import { exits, fails, refusesInTwoLines, says, saysNot } from '../../cluster/expect.js'
import { suite } from '../../suite.js'
import { type Rule, until } from './fake.js'
import { ACK, BARE, instead, N1, N2, N3, N4, notRoot, options, REFUSAL, useRig } from './rig.js'

const test = suite('node side of the shim')
const rig = useRig(test)
/** Seen of a worker's first answer while eight compilers ran on each processor. */
const SLOW_START_MS = 6000

test.needs(notRoot, 'a step without a container option makes no connection', () =>
  rig.withWorker(BARE, async (fake) => {
    const told = exits(
      await rig.cluster.srun([
        ...N1,
        '-n2',
        'sh',
        '-c',
        'env | grep BERTH | grep -vc ^BERTH_RUNTIME_DIR=; exit 0',
      ]),
      0,
    )
    assert.is(told.output, '0\n0\n')
    exits(await rig.cluster.batch('#!/bin/sh\necho hi\n', N1), 0)
    assert.is(fake.seen.length, 0)
  }),
)

test.needs(notRoot, 'srun: check, registration, tasks, launcher, release', () =>
  rig.withWorker(BARE, async (fake) => {
    const script = 'echo $SLURM_PROCID "$@"; env | grep -c -e ^BERTH_ -e ^SLURM_BERTH_ARGV0; exit 3'
    const told = await rig.cluster.srun([
      ...N1,
      '-n2',
      '--container-image=a:1',
      'sh',
      '-c',
      script,
      'x',
      'b c',
    ])
    exits(told, 3)
    assert.equal(told.stdout.split('\n').sort(), ['', '0', '0', '0 b c', '1 b c'])
    const [register, ...more] = fake.of(Type.REGISTER)
    assert.is(more.length, 0)
    assert.is(register?.uid, 0)
    assert.is(register?.frame.text(Tag.CONTEXT), 'step')
    assert.is(register?.frame.number(Tag.LOCAL_TASKS), 2)
    assert.is(register?.frame.number(Tag.TOTAL_TASKS), 2)
    assert.is(register?.frame.number(Tag.STEP), 0)
    assert.is(register?.frame.environment().get('SLURM_JOB_ID'), String(register?.frame.number(Tag.JOB)))
    const uid = register?.frame.number(Tag.UID)
    assert.ok((uid ?? 0) > 0)
    assert.ok(register?.frame.numbers(Tag.GIDS).includes(register?.frame.number(Tag.GID) ?? -1))
    const tasks = fake.of(Type.TASK)
    assert.equal(tasks.map((task) => task.frame.number(Tag.LOCAL_ID)).sort(), [0, 1])
    for (const task of tasks) {
      assert.is(task.uid, 0)
      assert.is(task.fds, 2)
      assert.is(task.frame.number(Tag.PID), task.pid)
      assert.is(task.frame.text(Tag.CWD), rig.cluster.shared)
      assert.equal(task.frame.bytes(Tag.HANDLE), register?.frame.bytes(Tag.HANDLE))
    }
    const hellos = fake.of(Type.HELLO)
    assert.equal(hellos.map((hello) => hello.pid).sort(), tasks.map((task) => task.pid).sort())
    for (const hello of hellos) assert.equal([hello.uid, hello.frame.text(Tag.ARGV0)], [uid, 'sh'])
    await until('the end of the lease', () => fake.closed.includes(Type.RELEASE))
    assert.is(fake.of(Type.RELEASE).length, 1)
  }),
)

test.needs(notRoot, '--multi-prog: the launcher stands before each program', () =>
  rig.withWorker(BARE, async (fake) => {
    const file = join(rig.cluster.shared, 'multi')
    writeFileSync(file, '# tasks\n0 echo ran\n\n1 env A=b echo ran\n')
    const args = [...N1, '-n2', '--container-image=a', '--multi-prog', file]
    assert.is(exits(await rig.cluster.srun(args), 0).stdout, 'ran\nran\n')
    assert.equal(
      fake
        .of(Type.HELLO)
        .map(({ frame }) => frame.text(Tag.ARGV0))
        .sort(),
      ['echo', 'env'],
    )
    // Slurm takes any white space.
    writeFileSync(file, '\r\n\v0-1\techo ran\n')
    assert.is(exits(await rig.cluster.srun(args), 0).stdout, 'ran\nran\n')
    assert.equal(fake.of(Type.HELLO).length, 4)
    // A command of the same form is none.
    exits(await rig.cluster.srun([...N1, '--container-image=a', 'echo', '0 echo']), 0)
    exits(await rig.cluster.srun([...N1, '-n2', '--multi-prog', file]), 0)
    const script = join(rig.cluster.shared, 'script')
    writeFileSync(script, '#!/bin/sh\necho "$1"\n')
    exits(await rig.cluster.srun([...N1, '--container-image=a', 'sh', script, '1 word']), 0)
  }),
)

test.needs(
  notRoot,
  'a task that the worker refuses fails with its words, the node is not drained',
  async () => {
    for (const rule of [
      [Type.TASK, REFUSAL],
      [Type.HELLO, REFUSAL],
    ] as Rule[]) {
      await rig.withWorker(instead(rule), async () => {
        const told = fails(await rig.cluster.srun([...N1, '--container-image=a', 'echo', 'ran']))
        says(refusesInTwoLines(told, /^berth: error\[BERTH_EOPTION\]: /m), /^hint: SRC:DST$/m)
        saysNot(told, /^ran/m)
        const batch = fails(await rig.cluster.batch('#!/bin/sh\necho ran\n', [...N1, '--container-image=a']))
        says(batch, /BERTH_EOPTION/)
        saysNot(batch, /^ran/m)
      })
      await until('an idle node', () => true)
      assert.match(await rig.cluster.nodeState('n1'), /idle|comp/)
    }
  },
)

test.needs(notRoot, 'a worker of another version is told as that, with what to do', async () => {
  const answer = encodeFrame(Type.ACK)
  answer.writeUInt16LE(PROTOCOL_VERSION + 1, 6)
  await rig.withWorker(instead([Type.TASK, { send: answer }]), async () => {
    const told = fails(await rig.cluster.srun([...N1, '--container-image=a', 'echo', 'ran']))
    says(
      told,
      /^berth: error\[BERTH_EVERSION\]: berth was replaced on this node.*\nhint: run the step again; /m,
    )
    saysNot(told, /^ran/m)
  })
})

test.needs(notRoot, 'on a node without the plugin the launcher refuses, nothing runs', () =>
  rig.withWorker(BARE, async (fake) => {
    const told = fails(await rig.cluster.srun([...N2, '--container-image=a', 'echo', 'ran']))
    says(told, /BERTH_ENOWORKER/)
    saysNot(told, /^ran/m)
    assert.is(fake.of(Type.REGISTER).length, 0)
  }),
)

test.needs(notRoot, 'the release is said once and not waited for: launchers have seen to a save', () => {
  return rig.withWorker(instead([Type.RELEASE, REFUSAL]), async (fake) => {
    const save = [...N1, '--container-image=a', '--container-save=/tmp/x']
    const told = exits(await rig.cluster.srun([...save, 'echo', 'ran']), 0)
    saysNot(says(told, /^ran/m), /BERTH_E/)
    // Nobody waits for it: srun may be first.
    await until('its end', () => fake.closed.includes(Type.RELEASE))
    assert.is(fake.of(Type.RELEASE).length, 1)
  })
})

test.needs(notRoot, 'the prolog lets the worker fetch the image, for jobs with one', () =>
  rig.withWorker(BARE, async (fake) => {
    exits(await rig.cluster.srun([...N1, '--container-image=a', 'true']), 0)
    const prefetch = fake.of(Type.PREFETCH)
    assert.is(prefetch.length, 1)
    assert.is(prefetch[0]?.uid, 0)
    assert.equal(options(fake, Type.PREFETCH), ['container-image=a'])
    assert.is(prefetch[0]?.frame.number(Tag.UID), fake.of(Type.REGISTER)[0]?.frame.number(Tag.UID))
    exits(await rig.cluster.batch('#!/bin/sh\n', [...N1, '--container-image=b']), 0)
    assert.equal(options(fake, Type.PREFETCH), ['container-image=b'])
  }),
)

test.needs(
  notRoot,
  'a worker that cannot start fails the task in time, once, and leaves the node alone',
  async () => {
    for (const told of [
      fails(await rig.cluster.srun([...N3, '-n4', '--container-image=a', 'echo', 'ran'])),
      fails(await rig.cluster.batch('#!/bin/sh\necho ran\n', [...N3, '--container-image=a'])),
    ]) {
      says(told, /^berth: error\[BERTH_ENOWORKER\]/m)
      saysNot(told, /^ran/m)
      assert.ok(told.milliseconds < 30_000, `${told.milliseconds} ms`)
    }
    assert.match(await rig.cluster.nodeState('n3'), /idle|comp/)
  },
)

test.needs(notRoot, 'a node= that names no program is told by its path, at once', async () => {
  const told = fails(await rig.cluster.srun([...N4, '--container-image=a', 'echo', 'ran']))
  says(told, /^berth: error\[BERTH_EPLUGSTACK\]: cannot run \/nonexistent\/node, .*: No such file/m)
  saysNot(told, /^ran/m)
})

test.needs(notRoot, 'why no worker can be started is told to the user, and who can mend it', async () => {
  const runtime = rig.cluster.nodes[2]?.runtimeDir ?? ''
  mkdirSync(runtime, { recursive: true })
  chmodSync(runtime, 0o777)
  const told = fails(await rig.cluster.srun([...N3, '--container-image=a', 'echo', 'ran']))
  chmodSync(runtime, 0o755)
  says(
    told,
    /^berth: error\[BERTH_ENOWORKER\]: no worker at .*, and none can be started: others than root can change .*: chown root .*; chmod go-w /m,
  )
  says(told, /^hint: tell the operators of node n3: /m)
  saysNot(told, /^ran/m)
})

test.needs(notRoot, 'a worker that a busy node lets start slowly is waited for', () =>
  rig.withWorker(instead([Type.TASK, { pauseMs: SLOW_START_MS }, ACK]), async () => {
    says(exits(await rig.cluster.srun([...N1, '--container-image=a', 'echo', 'ran']), 0), /^ran/m)
  }),
)

test.needs(notRoot, 'an environment beyond one frame is refused with a reason', () =>
  rig.withWorker(BARE, async () => {
    const env = Object.fromEntries(
      Array.from({ length: 11 }, (_, index) => [`BIG${index}`, 'x'.repeat(100_000)]),
    )
    const told = fails(await rig.cluster.srun([...N1, '--container-image=a', 'echo', 'ran'], { env }))
    says(told, /BERTH_EENVIRONMENT/)
    saysNot(told, /^ran/m)
  }),
)

test.needs(notRoot, 'a task on a terminal tells its width', () =>
  rig.withWorker(BARE, async (fake) => {
    const inner = `stty rows 33 cols 99; srun -w n1 --pty --container-image=a sh -c 'test -t 0 && stty size'`
    const told = await rig.cluster.command(['script', '-qec', inner, '/dev/null'])
    says(told, /99/)
    assert.is(fake.of(Type.HELLO)[0]?.frame.number(Tag.TTY), 99)
  }),
)

test.needs(
  notRoot,
  'a worker that dies after a task was announced is asked again by the launcher',
  async () => {
    const first = await rig.start(instead([Type.HELLO]))
    const running = rig.cluster.start(['srun', ...N1, '--container-image=a', 'echo', 'ran'])
    await until('the greeting', () => first.of(Type.HELLO)[0])
    await first.stop()
    await rig.withWorker(BARE, async (second) => {
      says(exits(await running.done, 0), /^ran/m)
      assert.is(second.of(Type.HELLO).length, 1)
    })
  },
)

test.needs(notRoot, 'a killed slurmstepd ends the lease', () =>
  rig.withWorker(BARE, async (fake) => {
    const running = rig.cluster.start(['srun', ...N1, '--container-image=a', 'sleep', '60'])
    const task = await until('the task', () => fake.of(Type.HELLO)[0])
    assert.ok(existsSync(`/proc/${task.pid}/comm`))
    await until('sleep', () => readFileSync(`/proc/${task.pid}/comm`, 'utf8') === 'sleep\n')
    const register = fake.of(Type.REGISTER)[0]
    process.kill(register?.pid ?? 0, 'SIGKILL')
    await until('the end of the lease', () => fake.closed.includes(Type.REGISTER))
    process.kill(task.pid, 'SIGKILL')
    exits(await rig.cluster.command(['scancel', '--user=berth-a']), 0)
    await running.done
  }),
)

test.run()
