// SPDX-License-Identifier: Apache-2.0
/** berth.so on a real Slurm: what it tells the worker, and what the worker's answers make of a step. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, type Fields, type FrameType, Tag, Type } from '../../../src/worker/frame.js'
import { type Cluster, startCluster } from '../../cluster/cluster.js'
import { exits, fails, says, saysNot } from '../../cluster/expect.js'
import { suite } from '../../suite.js'
import { compileFake, FakeWorker, makeDirectory, type Rule, until } from './fake.js'

const EXEC = 2
const BATCH = 0xfffffffb

const notRoot = process.getuid?.() === 0 ? '' : 'root'
const test = suite('shim')
const directory = makeDirectory()
const program = compileFake(directory.path)
let cluster: Cluster
let runtime = ''

const answer = (type: FrameType, fields: Fields = []) => ({ send: encodeFrame(type, fields) })
const ACK = answer(Type.ACK)
/** Registers nothing, announces nothing, runs the command on the host: enough to see what arrives. */
const BARE: Rule[] = [
  [Type.CHECK, ACK, answer(Type.PIN)],
  [Type.TASK, ACK],
  [Type.HELLO, answer(Type.JOIN, [[Tag.FLAGS, EXEC]])],
  [Type.RELEASE, ACK],
  [Type.PREFETCH, ACK],
]

/** BARE with other answers to some frames. */
function instead(...rules: Rule[]): Rule[] {
  return [...rules, ...BARE.filter(([type]) => !rules.some(([other]) => other === type))]
}

async function withWorker<T>(rules: readonly Rule[], body: (fake: FakeWorker) => Promise<T>): Promise<T> {
  mkdirSync(runtime, { recursive: true })
  const fake = await FakeWorker.start(program, directory.path, join(runtime, 'worker.sock'), rules)
  try {
    return await body(fake)
  } finally {
    await fake.stop()
  }
}

/** Options of the last REGISTER, or of whatever frame. */
function options(fake: FakeWorker, type: FrameType = Type.REGISTER): string[] {
  return fake.of(type).at(-1)?.frame.texts(Tag.OPTION) ?? []
}

test.before(async () => {
  if (notRoot !== '') return
  // n3: a worker that cannot start.
  cluster = await startCluster({ nodes: [{}, { plugin: false }, { plugArgs: ['node=/bin/false'] }] })
  runtime = cluster.nodes[0]?.runtimeDir ?? ''
})
const N1 = ['-w', 'n1', '-N1']
const N2 = ['-w', 'n2', '-N1']
const N3 = ['-w', 'n3', '-N1']

test.needs(notRoot, 'a step without a container option makes no connection', () =>
  withWorker(BARE, async (fake) => {
    const told = exits(await cluster.srun([...N1, '-n2', 'sh', '-c', 'env | grep -c BERTH; exit 0']), 0)
    assert.is(told.output, '0\n0\n')
    exits(await cluster.batch('#!/bin/sh\necho hi\n', N1), 0)
    assert.is(fake.seen.length, 0)
  }),
)

test.needs(notRoot, 'srun: check, registration, tasks, launcher, release', () =>
  withWorker(BARE, async (fake) => {
    const script = 'echo $SLURM_PROCID "$@"; env | grep -c -e ^BERTH_ -e ^SLURM_BERTH_ARGV0; exit 3'
    const told = await cluster.srun([...N1, '-n2', '--container-image=a:1', 'sh', '-c', script, 'x', 'b c'])
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
      assert.is(task.frame.text(Tag.CWD), cluster.shared)
      assert.equal(task.frame.bytes(Tag.HANDLE), register?.frame.bytes(Tag.HANDLE))
    }
    const hellos = fake.of(Type.HELLO)
    assert.equal(hellos.map((hello) => hello.pid).sort(), tasks.map((task) => task.pid).sort())
    for (const hello of hellos) assert.equal([hello.uid, hello.frame.text(Tag.ARGV0)], [uid, 'sh'])
    assert.is(fake.of(Type.RELEASE).length, 1)
    await until('the end of the lease', () => fake.closed.includes(Type.RELEASE))
  }),
)

test.needs(notRoot, 'repeats of a list add up, the last single value wins, flags are =1', () =>
  withWorker(BARE, async (fake) => {
    const flags = [
      '--container-image=a',
      '--container-image=b',
      '--container-mounts=/a:/a',
      '--container-mounts',
      '/b:/b,/c:/c',
    ]
    const more = ['--container-readonly', '--no-container-mount-home', '--container-env=X']
    exits(
      await cluster.srun([...N1, ...flags, ...more, 'true'], { env: { PYXIS_CONTAINER_MOUNTS: '/p:/p' } }),
      0,
    )
    const wanted = [
      'container-env=X',
      'container-image=b',
      'container-mounts=/a:/a,/b:/b,/c:/c',
      'container-readonly=1',
      'no-container-mount-home=1',
    ]
    assert.equal(options(fake).sort(), wanted)
    assert.equal(options(fake, Type.CHECK).sort(), wanted)
  }),
)

test.needs(notRoot, 'variables count where no flag is given, a flag silences its opposite', () =>
  withWorker(BARE, async (fake) => {
    const env = {
      PYXIS_CONTAINER_IMAGE: 'pyxis',
      BERTH_CONTAINER_IMAGE: 'berth',
      PYXIS_CONTAINER_WRITABLE: '1',
      BERTH_CONTAINER_WORKDIR: '/w',
    }
    exits(await cluster.srun([...N1, '--container-readonly', 'true'], { env }), 0)
    assert.equal(options(fake).sort(), [
      'container-image=berth',
      'container-readonly=1',
      'container-workdir=/w',
    ])
    // The node's own reading of the job's environment, as for slurmrestd.
    exits(await cluster.srun([...N1, '--container-image=none', 'true'], { env }), 0)
    assert.is(fake.of(Type.REGISTER).length, 1)
  }),
)

test.needs(notRoot, 'srun --export=NONE keeps the options', () =>
  withWorker(BARE, async (fake) => {
    const told = exits(
      await cluster.srun([...N1, '--export=NONE', '--container-image=a', '/bin/echo', 'x']),
      0,
    )
    assert.is(told.stdout, 'x\n')
    assert.equal(options(fake), ['container-image=a'])
  }),
)

test.needs(
  notRoot,
  'sbatch: the script is registered with its path; an inner srun inherits and overrides',
  () =>
    withWorker(BARE, async (fake) => {
      const script = [
        '#!/bin/sh',
        '#SBATCH --container-mounts=/a:/a',
        'echo batch $0',
        'srun -n1 /bin/echo step',
        'srun -n1 --container-image=other --container-mounts=/z:/z /bin/echo step',
        'srun -n1 --container-image=none /bin/echo bare',
        '',
      ].join('\n')
      for (const more of [[], ['--export=NONE']]) {
        const before = fake.seen.length
        const told = exits(
          await cluster.batch(script, [...N1, '--container-image=a', '--container-mounts=/b:/b', ...more]),
          0,
        )
        assert.match(told.stdout, /^batch .*slurm_script\nstep\nstep\nbare\n$/)
        const registers = fake.seen.slice(before).filter((seen) => seen.type === Type.REGISTER)
        assert.equal(
          registers.map((seen) => [seen.frame.text(Tag.CONTEXT), ...seen.frame.texts(Tag.OPTION).sort()]),
          [
            ['batch', 'container-image=a', 'container-mounts=/a:/a,/b:/b'],
            ['step', 'container-image=a', 'container-mounts=/a:/a,/b:/b'],
            ['step', 'container-image=other', 'container-mounts=/z:/z'],
          ],
        )
        assert.is(registers[0]?.frame.number(Tag.STEP), BATCH)
        assert.match(registers[0]?.frame.text(Tag.SCRIPT) ?? '', /slurm_script$/)
        assert.is(registers[0]?.frame.number(Tag.TOTAL_TASKS), 0)
      }
      assert.equal(
        [...new Set(fake.of(Type.CHECK).map((seen) => seen.frame.text(Tag.CONTEXT)))],
        ['sbatch', 'srun'],
      )
    }),
)

test.needs(notRoot, 'sbatch --export-file loses the environment, not the options', () =>
  withWorker(BARE, async (fake) => {
    const file = join(cluster.shared, 'export')
    writeFileSync(file, 'PATH=/usr/bin:/bin\0')
    const args = [
      ...N1,
      `--export-file=${file}`,
      '--container-image=a',
      '--container-mounts=/a:/a',
      '--container-mounts=/b:/b',
    ]
    exits(await cluster.batch('#!/bin/sh\ntrue\n', args), 0)
    assert.equal(options(fake).sort(), ['container-image=a', 'container-mounts=/a:/a,/b:/b'])
  }),
)

test.needs(notRoot, 'salloc: an inner srun inherits', () =>
  withWorker(BARE, async (fake) => {
    const told = exits(
      await cluster.salloc([...N1, '--container-image=a', 'sh', '-c', 'echo host; srun -n1 echo step']),
      0,
    )
    assert.match(told.stdout, /host\nstep\n/)
    assert.equal(
      fake.of(Type.REGISTER).map((seen) => seen.frame.texts(Tag.OPTION)),
      [['container-image=a']],
    )
    assert.is(fake.of(Type.CHECK)[0]?.frame.text(Tag.CONTEXT), 'salloc')
  }),
)

const refusal = answer(Type.FAIL, [
  [Tag.CODE, 'BERTH_EOPTION'],
  [Tag.TEXT, '--container-mounts: invalid format: :'],
  [Tag.HINT, 'SRC:DST'],
  [Tag.EXIT, 125],
])

test.needs(notRoot, 'a refused option fails before the job is queued, in srun, sbatch and salloc', () =>
  withWorker([[Type.CHECK, refusal]], async (fake) => {
    for (const told of [
      await cluster.srun([...N1, '--container-image=a', '--container-mounts=:', 'true']),
      await cluster.batch('#!/bin/sh\n', [...N1, '--container-image=a', '--container-mounts=:']),
      await cluster.salloc([...N1, '--container-image=a', '--container-mounts=:', 'true']),
    ]) {
      fails(told)
      says(told, /^berth: error\[BERTH_EOPTION\]: --container-mounts: invalid format: :\nhint: SRC:DST\n/m)
      saysNot(told, /queued|Granted|Submitted/)
    }
    assert.is(fake.of(Type.CHECK).length, 3)
    assert.is(fake.of(Type.REGISTER).length, 0)
  }),
)

test.needs(notRoot, "an image that is missing fails srun and sbatch by the registry's word", () => {
  const missing = answer(Type.FAIL, [
    [Tag.CODE, 'BERTH_EIMAGENOTFOUND'],
    [Tag.TEXT, 'no image a'],
    [Tag.EXIT, 125],
  ])
  return withWorker([[Type.CHECK, ACK, missing]], async (fake) => {
    fails(says(await cluster.srun([...N1, '--container-image=a', 'true']), /BERTH_EIMAGENOTFOUND/))
    fails(says(await cluster.batch('#!/bin/sh\n', [...N1, '--container-image=a']), /BERTH_EIMAGENOTFOUND/))
    assert.is(fake.of(Type.REGISTER).length, 0)
  })
})

test.needs(notRoot, 'a pinned image is what the node gets', () => {
  const pin = answer(Type.PIN, [[Tag.OPTION, 'container-image=a@sha256:1']])
  return withWorker(instead([Type.CHECK, ACK, pin]), async (fake) => {
    exits(await cluster.srun([...N1, '--container-image=a', 'true']), 0)
    assert.equal(options(fake), ['container-image=a@sha256:1'])
    exits(await cluster.batch('#!/bin/sh\n', [...N1, '--container-image=b']), 0)
    assert.equal(options(fake), ['container-image=a@sha256:1'])
  })
})

test.needs(notRoot, 'a worker that says nothing to the check holds nobody up', () =>
  withWorker(instead([Type.CHECK, 'close']), async (fake) => {
    exits(await cluster.srun([...N1, '--container-image=a', 'true']), 0)
    assert.equal(options(fake), ['container-image=a'])
  }),
)

test.needs(notRoot, 'flags without an image are named and ignored', () =>
  withWorker(BARE, async (fake) => {
    const told = exits(await cluster.srun([...N1, '--container-mounts=/a:/a', 'echo', 'x']), 0)
    says(told, /ignoring --container-mounts because neither --container-image nor --container-name is set/)
    assert.is(fake.of(Type.REGISTER).length, 0)
  }),
)

test.needs(notRoot, 'an empty image is an error, not a step without a container', () =>
  withWorker(BARE, async () => {
    const told = fails(await cluster.srun([...N1, '--container-image=', 'echo', 'ran']))
    says(told, /--container-image: argument required/)
    saysNot(told, /^ran/m)
  }),
)

test.needs(notRoot, '--multi-prog is refused where Slurm cannot do it', () =>
  withWorker(BARE, async () => {
    const file = join(cluster.shared, 'multi')
    writeFileSync(file, '# tasks\n0-1 echo ran\n')
    const told = fails(await cluster.srun([...N1, '-n2', '--container-image=a', '--multi-prog', file]))
    says(told, /BERTH_EMULTIPROG/)
    saysNot(told, /^ran/m)
    // A command of the same form is none.
    exits(await cluster.srun([...N1, '--container-image=a', 'echo', '0 echo']), 0)
    exits(await cluster.srun([...N1, '-n2', '--multi-prog', file]), 0)
  }),
)

test.needs(
  notRoot,
  'a task that the worker refuses fails with its words, the node is not drained',
  async () => {
    for (const rule of [
      [Type.TASK, refusal],
      [Type.HELLO, refusal],
    ] as Rule[]) {
      await withWorker(instead(rule), async () => {
        const told = fails(await cluster.srun([...N1, '--container-image=a', 'echo', 'ran']))
        says(told, /^berth: error\[BERTH_EOPTION\]: .*\nhint: SRC:DST$/m)
        saysNot(told, /^ran/m)
        const batch = fails(await cluster.batch('#!/bin/sh\necho ran\n', [...N1, '--container-image=a']))
        says(batch, /BERTH_EOPTION/)
        saysNot(batch, /^ran/m)
      })
      await until('an idle node', () => true)
      assert.match(await cluster.nodeState('n1'), /idle|comp/)
    }
  },
)

test.needs(notRoot, 'on a node without the plugin the launcher refuses, nothing runs', () =>
  withWorker(BARE, async (fake) => {
    const told = fails(await cluster.srun([...N2, '--container-image=a', 'echo', 'ran']))
    says(told, /BERTH_ENOWORKER/)
    saysNot(told, /^ran/m)
    assert.is(fake.of(Type.REGISTER).length, 0)
  }),
)

test.needs(notRoot, "components of one step cannot differ in their container's options", () =>
  withWorker(BARE, async () => {
    const told = fails(
      await cluster.srun([
        '-n1',
        '--container-image=a',
        'echo',
        'ran',
        ':',
        '-n1',
        '--container-image=b',
        'echo',
        'ran',
      ]),
    )
    says(told, /BERTH_EHETEROGENEOUS/)
    saysNot(told, /^ran/m)
  }),
)

test.needs(notRoot, 'a save is waited for, and its failure is told', () => {
  return withWorker(instead([Type.RELEASE, refusal]), async () => {
    const told = await cluster.srun([...N1, '--container-image=a', '--container-save=/tmp/x', 'echo', 'ran'])
    says(told, /^ran/m)
    says(told, /BERTH_EOPTION/)
  })
})

test.needs(notRoot, 'the prolog lets the worker fetch the image, for jobs with one', () =>
  withWorker(BARE, async (fake) => {
    exits(await cluster.srun([...N1, '--container-image=a', 'true']), 0)
    const prefetch = fake.of(Type.PREFETCH)
    assert.is(prefetch.length, 1)
    assert.is(prefetch[0]?.uid, 0)
    assert.equal(options(fake, Type.PREFETCH), ['container-image=a'])
    assert.is(prefetch[0]?.frame.number(Tag.UID), fake.of(Type.REGISTER)[0]?.frame.number(Tag.UID))
    exits(await cluster.batch('#!/bin/sh\n', [...N1, '--container-image=b']), 0)
    assert.equal(options(fake, Type.PREFETCH), ['container-image=b'])
  }),
)

test.needs(notRoot, 'submitted where there is no plugin, the node reads the environment', () =>
  withWorker(BARE, async (fake) => {
    const SLURM_CONF = join(cluster.dir, 'n2/slurm.conf')
    const env = { SLURM_CONF, BERTH_CONTAINER_IMAGE: 'a', PYXIS_CONTAINER_WORKDIR: '/w' }
    const told = exits(await cluster.srun([...N1, 'echo', 'x'], { env }), 0)
    assert.is(told.stdout, 'x\n')
    assert.equal(options(fake).sort(), ['container-image=a', 'container-workdir=/w'])
    // As slurmrestd's users write it.
    const rest = { SLURM_CONF, _SLURM_SPANK_OPTION_berth_container_image: 'b' }
    exits(await cluster.batch('#!/bin/sh\n', N1, { env: rest }), 0)
    assert.equal(options(fake), ['container-image=b'])
    const file = join(cluster.shared, 'multi-bare')
    writeFileSync(file, '# tasks\n0 echo ran\n')
    const multi = fails(await cluster.srun([...N1, '--multi-prog', file], { env }))
    says(multi, /BERTH_EMULTIPROG/)
    saysNot(multi, /^ran/m)
  }),
)

test.needs(
  notRoot,
  'a worker that cannot start fails the task in time, once, and leaves the node alone',
  async () => {
    for (const told of [
      fails(await cluster.srun([...N3, '-n4', '--container-image=a', 'echo', 'ran'])),
      fails(await cluster.batch('#!/bin/sh\necho ran\n', [...N3, '--container-image=a'])),
    ]) {
      says(told, /^berth: error\[BERTH_ENOWORKER\]/m)
      saysNot(told, /^ran/m)
      assert.ok(told.milliseconds < 30_000, `${told.milliseconds} ms`)
    }
    assert.match(await cluster.nodeState('n3'), /idle|comp/)
  },
)

test.needs(notRoot, 'an environment beyond one frame is refused with a reason', () =>
  withWorker(BARE, async () => {
    const env = Object.fromEntries(
      Array.from({ length: 11 }, (_, index) => [`BIG${index}`, 'x'.repeat(100_000)]),
    )
    const told = fails(await cluster.srun([...N1, '--container-image=a', 'echo', 'ran'], { env }))
    says(told, /BERTH_EENVIRONMENT/)
    saysNot(told, /^ran/m)
  }),
)

test.needs(notRoot, 'a task on a terminal tells its width', () =>
  withWorker(BARE, async (fake) => {
    const inner = `stty rows 33 cols 99; srun -w n1 --pty --container-image=a sh -c 'test -t 0 && stty size'`
    const told = await cluster.command(['script', '-qec', inner, '/dev/null'])
    says(told, /99/)
    assert.is(fake.of(Type.HELLO)[0]?.frame.number(Tag.TTY), 99)
  }),
)

test.needs(
  notRoot,
  'a worker that dies after a task was announced is asked again by the launcher',
  async () => {
    const socket = join(runtime, 'worker.sock')
    const first = await FakeWorker.start(program, directory.path, socket, instead([Type.HELLO]))
    const running = cluster.start(['srun', ...N1, '--container-image=a', 'echo', 'ran'])
    await until('the greeting', () => first.of(Type.HELLO)[0])
    await first.stop()
    await withWorker(BARE, async (second) => {
      says(exits(await running.done, 0), /^ran/m)
      assert.is(second.of(Type.HELLO).length, 1)
    })
  },
)

test.needs(notRoot, 'a killed slurmstepd ends the lease', () =>
  withWorker(BARE, async (fake) => {
    const running = cluster.start(['srun', ...N1, '--container-image=a', 'sleep', '60'])
    const task = await until('the task', () => fake.of(Type.HELLO)[0])
    assert.ok(existsSync(`/proc/${task.pid}/comm`))
    await until('sleep', () => readFileSync(`/proc/${task.pid}/comm`, 'utf8') === 'sleep\n')
    const register = fake.of(Type.REGISTER)[0]
    process.kill(register?.pid ?? 0, 'SIGKILL')
    await until('the end of the lease', () => fake.closed.includes(Type.REGISTER))
    process.kill(task.pid, 'SIGKILL')
    exits(await cluster.command(['scancel', '--user=berth-a']), 0)
    await running.done
  }),
)

test.after(async () => {
  if (notRoot === '') await cluster.stop()
  directory.remove()
})
test.run()
