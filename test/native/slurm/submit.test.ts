// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: mounts spell variables this way
/** srun, sbatch and salloc with berth.so: which options reach the node, and what is refused before. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { Tag, Type } from '../../../src/worker/frame.js'
import { exits, fails, says, saysNot } from '../../cluster/expect.js'
import { suite } from '../../suite.js'
import { ACK, answer, BARE, instead, N1, notRoot, options, REFUSAL, useRig } from './rig.js'

/** slurm.h: SLURM_BATCH_SCRIPT */
const BATCH = 0xfffffffb
const OTHER_USER = 65533

const test = suite('submit side of the shim')
const rig = useRig(test)

test.needs(notRoot, 'repeats of a list add up, the last single value wins, flags are =1', () =>
  rig.withWorker(BARE, async (fake) => {
    const flags = [
      '--container-image=a',
      '--container-image=b',
      '--container-mounts=/a:/a',
      '--container-mounts',
      '/b:/b,/c:/c',
    ]
    const more = ['--container-readonly', '--no-container-mount-home', '--container-env=X']
    exits(
      await rig.cluster.srun([...N1, ...flags, ...more, 'true'], {
        env: { PYXIS_CONTAINER_MOUNTS: '/p:/p' },
      }),
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

test.needs(notRoot, 'variables in mounts are those of who submits, and no value is split', () =>
  rig.withWorker(BARE, async (fake) => {
    const mounts = [
      ['${DATA}:/x:ro', '/d/a\\:b\\,\\$c:/x:ro'],
      ['"${DATA}/${NONE}":/x', '"/d/a\\:b\\,\\$c/${NONE}":/x'],
      ['${NONE:-/n}:/x,${DATA:-/n}:/y', '${NONE:-/n}:/x,/d/a\\:b\\,\\$c:/y'],
      ['/\\${DATA}:/x,${:/y,${DATA', '/\\${DATA}:/x,${:/y,${DATA'],
    ]
    for (const [given, reaches] of mounts) {
      const flags = ['--container-image=a', `--container-mounts=${given}`]
      exits(
        await rig.cluster.srun([...N1, '--export=NONE', ...flags, 'true'], { env: { DATA: '/d/a:b,$c' } }),
        0,
      )
      assert.equal(
        options(fake).find((option) => /mounts/.test(option)),
        `container-mounts=${reaches}`,
      )
    }
  }),
)

test.needs(notRoot, 'variables count where no flag is given, a flag silences its opposite', () =>
  rig.withWorker(BARE, async (fake) => {
    const env = {
      PYXIS_CONTAINER_IMAGE: 'pyxis',
      BERTH_CONTAINER_IMAGE: 'berth',
      PYXIS_CONTAINER_WRITABLE: '1',
      BERTH_CONTAINER_WORKDIR: '/w',
    }
    exits(await rig.cluster.srun([...N1, '--container-readonly', 'true'], { env }), 0)
    assert.equal(options(fake).sort(), [
      'container-image=berth',
      'container-readonly=1',
      'container-workdir=/w',
    ])
    // The node's own reading of the job's environment, as for slurmrestd.
    exits(await rig.cluster.srun([...N1, '--container-image=none', 'true'], { env }), 0)
    assert.is(fake.of(Type.REGISTER).length, 1)
  }),
)

test.needs(notRoot, 'srun --export=NONE keeps the options', () =>
  rig.withWorker(BARE, async (fake) => {
    const told = exits(
      await rig.cluster.srun([...N1, '--export=NONE', '--container-image=a', '/bin/echo', 'x']),
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
    rig.withWorker(BARE, async (fake) => {
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
          await rig.cluster.batch(script, [
            ...N1,
            '--container-image=a',
            '--container-mounts=/b:/b',
            ...more,
          ]),
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
  rig.withWorker(BARE, async (fake) => {
    const file = join(rig.cluster.shared, 'export')
    writeFileSync(file, 'PATH=/usr/bin:/bin\0')
    const args = [
      ...N1,
      `--export-file=${file}`,
      '--container-image=a',
      '--container-mounts=/a:/a',
      '--container-mounts=/b:/b',
    ]
    exits(await rig.cluster.batch('#!/bin/sh\ntrue\n', args), 0)
    assert.equal(options(fake).sort(), ['container-image=a', 'container-mounts=/a:/a,/b:/b'])
  }),
)

test.needs(notRoot, 'salloc: an inner srun inherits', () =>
  rig.withWorker(BARE, async (fake) => {
    const told = exits(
      await rig.cluster.salloc([...N1, '--container-image=a', 'sh', '-c', 'echo host; srun -n1 echo step']),
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

test.needs(notRoot, 'a refused option fails before the job is queued, in srun, sbatch and salloc', () =>
  rig.withWorker([[Type.CHECK, REFUSAL]], async (fake) => {
    for (const told of [
      await rig.cluster.srun([...N1, '--container-image=a', '--container-mounts=:', 'true']),
      await rig.cluster.batch('#!/bin/sh\n', [...N1, '--container-image=a', '--container-mounts=:']),
      await rig.cluster.salloc([...N1, '--container-image=a', '--container-mounts=:', 'true']),
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
  return rig.withWorker([[Type.CHECK, ACK, missing]], async (fake) => {
    fails(says(await rig.cluster.srun([...N1, '--container-image=a', 'true']), /BERTH_EIMAGENOTFOUND/))
    fails(
      says(await rig.cluster.batch('#!/bin/sh\n', [...N1, '--container-image=a']), /BERTH_EIMAGENOTFOUND/),
    )
    assert.is(fake.of(Type.REGISTER).length, 0)
  })
})

test.needs(notRoot, 'a pinned image is what the node gets', () => {
  const pin = answer(Type.PIN, [[Tag.OPTION, 'container-image=a@sha256:1']])
  return rig.withWorker(instead([Type.CHECK, ACK, pin]), async (fake) => {
    exits(await rig.cluster.srun([...N1, '--container-image=a', 'true']), 0)
    assert.equal(options(fake), ['container-image=a@sha256:1'])
    exits(await rig.cluster.batch('#!/bin/sh\n', [...N1, '--container-image=b']), 0)
    assert.equal(options(fake), ['container-image=a@sha256:1'])
  })
})

test.needs(notRoot, 'a worker that says nothing to the check holds nobody up', () =>
  rig.withWorker(instead([Type.CHECK, 'close']), async (fake) => {
    exits(await rig.cluster.srun([...N1, '--container-image=a', 'true']), 0)
    assert.equal(options(fake), ['container-image=a'])
  }),
)

test.needs(notRoot, 'flags without an image are named and ignored', () =>
  rig.withWorker(BARE, async (fake) => {
    const told = exits(await rig.cluster.srun([...N1, '--container-mounts=/a:/a', 'echo', 'x']), 0)
    says(told, /ignoring --container-mounts because neither --container-image nor --container-name is set/)
    assert.is(fake.of(Type.REGISTER).length, 0)
  }),
)

test.needs(notRoot, 'an empty image is an error, not a step without a container', () =>
  rig.withWorker(BARE, async () => {
    const told = fails(await rig.cluster.srun([...N1, '--container-image=', 'echo', 'ran']))
    says(told, /--container-image: argument required/)
    saysNot(told, /^ran/m)
    // The code that its user chose for failures; nothing that is left of one may be success.
    const coded = (code: string) =>
      rig.cluster.srun([...N1, '--container-image=', 'true'], { env: { SLURM_EXIT_ERROR: code } })
    exits(await coded('7'), 7)
    fails(await coded('256'))
  }),
)

test.needs(notRoot, "components of one step cannot differ in their container's options", () =>
  rig.withWorker(BARE, async () => {
    const told = fails(
      await rig.cluster.srun([
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

test.needs(notRoot, 'submitted where there is no plugin, the node reads the environment', () =>
  rig.withWorker(BARE, async (fake) => {
    const SLURM_CONF = join(rig.cluster.dir, 'n2/slurm.conf')
    const env = { SLURM_CONF, BERTH_CONTAINER_IMAGE: 'a', PYXIS_CONTAINER_WORKDIR: '/w' }
    const told = exits(await rig.cluster.srun([...N1, 'echo', 'x'], { env }), 0)
    assert.is(told.stdout, 'x\n')
    assert.equal(options(fake).sort(), ['container-image=a', 'container-workdir=/w'])
    // As slurmrestd's users write it.
    const rest = { SLURM_CONF, _SLURM_SPANK_OPTION_berth_container_image: 'b' }
    exits(await rig.cluster.batch('#!/bin/sh\n', N1, { env: rest }), 0)
    assert.equal(options(fake), ['container-image=b'])
    const file = join(rig.cluster.shared, 'multi-bare')
    writeFileSync(file, '# tasks\n0 echo ran\n')
    const multi = fails(await rig.cluster.srun([...N1, '--multi-prog', file], { env }))
    says(multi, /BERTH_EMULTIPROG/)
    saysNot(multi, /^ran/m)
  }),
)

test.needs(notRoot, "nothing is asked of a socket that another user put in the worker's place", async () => {
  const fake = await rig.start(BARE, OTHER_USER)
  try {
    const told = fails(await rig.cluster.srun([...N1, '--container-image=a', 'echo', 'ran']))
    says(told, /^berth: error\[BERTH_ESTRANGER\]: whoever listens at .*worker\.sock is user 65533, /m)
    saysNot(told, /^ran/m)
    assert.equal(fake.seen, [])
    says(exits(await rig.cluster.srun([...N1, 'echo', 'ran']), 0), /^ran/m)
  } finally {
    await fake.stop()
  }
})

test.run()
