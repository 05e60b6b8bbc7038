// SPDX-License-Identifier: Apache-2.0
/** srun, sbatch, salloc: how options reach a step, and what is refused before anything is queued. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { hasProgram } from '../native/reader/lab.js'
import { suite } from '../suite.js'
import { countLines, exits, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { hostRelease, otherRelease, publishLike } from './images.js'
import { startSlurmrestd } from './slurmrestd.js'
import { makeTar } from './tar.js'
import { USER_A } from './users.js'

const test = suite('submit')
const at = useCluster(test)
const flag = (): string => `--container-image=${at.images.debian}`
const codename = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']
const jobCount = async (): Promise<number> =>
  (await at.cluster.command(['squeue', '-h'])).stdout.split('\n').filter((line) => line !== '').length

/** The one table; words of others need an option of the operator's. */
const FLAGS = JSON.parse(readFileSync(join(import.meta.dirname, '../../dist/flags.json'), 'utf8')) as {
  name: string
  needs: string | null
}[]

test('help lists the flags with their tag', async () => {
  for (const program of ['srun', 'sbatch', 'salloc']) {
    const seen = exits(await at.cluster.command([program, '--help']), 0)
    for (const { name, needs } of FLAGS)
      (needs === null ? says : saysNot)(seen, new RegExp(`--${name.replaceAll('.', '\\.')}[=\\s]`))
    says(seen, /\[berth\]/)
  }
})

test('sbatch: the script itself runs in the image', async () => {
  const seen = await at.cluster.batch('#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME\npwd\n', [
    flag(),
    '-n1',
  ])
  prints(seen, [otherRelease(), '/workspace'])
})

test('sbatch: #SBATCH lines and script arguments count', async () => {
  const seen = await at.cluster.batch(
    `#!/bin/sh\n#SBATCH ${flag()}\n. /etc/os-release\necho $VERSION_CODENAME\nexit 7\n`,
    [],
  )
  exits(seen, 7)
  assert.is(seen.stdout.trim(), otherRelease())
})

test('sbatch --export=NONE keeps the container', async () => {
  const seen = await at.cluster.batch('#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME\n', [
    flag(),
    '--export=NONE',
  ])
  prints(seen, [otherRelease()])
})

test('a job that was queued while the site had pyxis runs in its image, and so do the steps of an old salloc', async () => {
  // What Slurm keeps of pyxis' options in the environment of a job; the submitting host has no plugin of ours.
  const kept = 'SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_container_image'
  const env = { [kept]: at.images.debian }
  const SLURM_CONF = join(at.cluster.shared, 'before.conf')
  writeFileSync(SLURM_CONF, readFileSync(at.cluster.conf, 'utf8').replace(/^PlugStackConfig=.*$/m, ''))
  const script = '#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME\n'
  // With --export=NONE Slurm keeps this one all the same.
  for (const more of [[], [`--export=${kept}`]])
    prints(await at.cluster.batch(script, ['-n1', ...more], { env: { ...env, SLURM_CONF } }), [
      otherRelease(),
    ])
  prints(await at.cluster.srun(['-n1', ...codename], { env }), [otherRelease()])
  prints(await at.cluster.srun(['-n1', '--container-image=none', ...codename], { env }), [hostRelease()])
})

test('srun --export=NONE keeps the container', async () => {
  const bare = '. /etc/os-release; echo $VERSION_CODENAME [$MINE]'
  const seen = await at.cluster.srun(['-n1', '--export=NONE', flag(), '/bin/sh', '-c', bare], {
    env: { MINE: 'x' },
  })
  prints(seen, [`${otherRelease()} []`])
})

test('a step that brings no variables has those of a login', async () => {
  const names = 'env | grep -E "^(HOME|USER|LOGNAME|SHELL|TERM)=" | sort'
  const seen = await at.cluster.srun(['-n1', '--export=MINE', flag(), '/bin/sh', '-c', names], {
    env: { MINE: 'x' },
  })
  const { name } = USER_A
  const [home, logname, shell = '', ...rest] = lines(seen)
  assert.equal(
    [home, logname, ...rest],
    [`HOME=/home/${name}`, `LOGNAME=${name}`, 'TERM=dumb', `USER=${name}`],
  )
  assert.match(shell, /^SHELL=\/bin\/\w*sh$/)
})

test('srun --export=NAME passes that name only', async () => {
  const seen = await at.cluster.srun(
    ['-n1', '--export=MINE', flag(), '/bin/sh', '-c', 'echo [$MINE][$OTHER]'],
    {
      env: { MINE: 'x', OTHER: 'y' },
    },
  )
  prints(seen, ['[x][]'])
})

test('srun --export=ALL,NAME=VALUE and sbatch --export=NAME pass what they say', async () => {
  const all = await at.cluster.srun(
    ['-n1', '--export=ALL,MINE=x', flag(), '/bin/sh', '-c', 'echo [$MINE][$OTHER]'],
    { env: { OTHER: 'y' } },
  )
  prints(all, ['[x][y]'])
  const script = '#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME [$MINE][$OTHER]\n'
  const env = { MINE: 'x', OTHER: 'y' }
  prints(await at.cluster.batch(script, [flag(), '--export=MINE'], { env }), [`${otherRelease()} [x][]`])
})

test('a variable in a mount is that of who submits, also where the job does not get it', async () => {
  const folder = join(at.cluster.shared, 'data')
  mkdirSync(folder)
  writeFileSync(join(folder, 'given'), 'given\n')
  const mount = ['--export=NONE', '--container-mounts=$' + '{DATA}:/x']
  const env = { DATA: folder }
  prints(await at.cluster.batch('#!/bin/sh\ncat /x/given\n', [flag(), ...mount], { env }), ['given'])
  prints(await at.cluster.srun(['-n1', flag(), ...mount, '/bin/cat', '/x/given'], { env }), ['given'])
})

test('an srun inside salloc inherits, overrides and undoes', async () => {
  const script = [
    `srun -n1 sh -c '. /etc/os-release; echo inherited $VERSION_CODENAME'`,
    `srun -n1 --container-image=${at.images.busybox} sh -c '. /etc/os-release; echo overridden $ID'`,
    `srun -n1 --container-image=none sh -c '. /etc/os-release; echo undone $VERSION_CODENAME'`,
    `. /etc/os-release; echo outside $VERSION_CODENAME`,
  ].join('; ')
  const seen = await at.cluster.salloc(['-N1', '-n1', flag(), 'sh', '-c', script])
  prints(seen, [
    `inherited ${otherRelease()}`,
    'overridden busybox',
    `undone ${hostRelease()}`,
    `outside ${hostRelease()}`,
  ])
})

test('variables stand for flags, and flags win', async () => {
  for (const name of ['BERTH_CONTAINER_IMAGE', 'PYXIS_CONTAINER_IMAGE']) {
    prints(await at.cluster.srun(['-n1', ...codename], { env: { [name]: at.images.debian } }), [
      otherRelease(),
    ])
  }
  const seen = await at.cluster.srun(['-n1', flag(), ...codename], {
    env: { BERTH_CONTAINER_IMAGE: at.images.busybox },
  })
  prints(seen, [otherRelease()])
})

test('a variable at an srun inside salloc beats the one that salloc had', async () => {
  const show = `sh -c '. /etc/os-release; echo $ID $VERSION_CODENAME'`
  const script = `srun -n1 ${show}; BERTH_CONTAINER_IMAGE=${at.images.busybox} srun -n1 ${show}`
  const run = { env: { BERTH_CONTAINER_IMAGE: at.images.debian } }
  const seen = await at.cluster.salloc(['-N1', '-n1', 'sh', '-c', script], run)
  assert.equal(lines(seen), [`debian ${otherRelease()}`, 'busybox'])
})

const noRest = hasProgram('slurmrestd') ? '' : 'slurmrestd'

test.needs(
  noRest,
  'slurmrestd: a job says all options in its variables, for its script or for its steps',
  async () => {
    const rest = await startSlurmrestd(at.cluster)
    const entry = '#!/bin/sh\nexport SEEN=entrypoint\nexec "$@"\n'
    const image = await publishLike(at.registry, 'rest', {
      layers: [makeTar([{ name: 'entry.sh', mode: 0o755, content: entry }])],
      ...{ env: ['PATH=/bin', 'CHOSEN=image'], entrypoint: ['/entry.sh'] },
    })
    const saved = join(at.cluster.shared, 'rest.sqsh')
    const environment = {
      ...{ BERTH_CONTAINER_IMAGE: image, BERTH_CONTAINER_REMAP_ROOT: 'yes', PYXIS_CONTAINER_ENTRYPOINT: '1' },
      ...{ BERTH_CONTAINER_MOUNTS: `${at.cluster.shared}:/data`, PYXIS_CONTAINER_WORKDIR: '/data' },
      ...{ BERTH_CONTAINER_ENV: 'CHOSEN', CHOSEN: 'job', BERTH_CONTAINER_SHM_SIZE: '16M' },
      ...{ PYXIS_CONTAINER_WRITABLE: '1', PYXIS_CONTAINER_SAVE: saved, BERTH_CONTAINER_UNSHARE: 'uts,pid' },
    }
    const size = "df -k /dev/shm | busybox awk 'END { print $2 }'"
    const show = `echo $(id -u) $PWD $CHOSEN $SEEN $(cat /proc/1/comm) $(${size}); echo kept > /kept`
    const script = await rest.submit(`#!/bin/sh\n${show}\nexit 3\n`, environment)
    assert.is(script.code, 3, script.output)
    assert.match(script.output, /^0 \/data job entrypoint berth-init 16384$/m)
    // On the host the script's step reads the same variables.
    const steps = { BERTH_CONTAINER_IMAGE: saved, BERTH_CONTAINER_SCOPE: 'step', SLURM_CONF: at.cluster.conf }
    const step = await rest.submit('#!/bin/bash\nsrun cat /kept\n', steps)
    assert.is(step.code, 0, step.output)
    assert.match(step.output, /^kept$/m)
  },
)

test('a space instead of = is the same; the last of several images wins', async () => {
  prints(await at.cluster.srun(['-n1', '--container-image', at.images.debian, ...codename]), [otherRelease()])
  const twice = [`--container-image=${at.images.busybox}`, flag()]
  prints(await at.cluster.srun(['-n1', ...twice, ...codename]), [otherRelease()])
})

const BAD_OPTIONS: readonly (readonly [string, RegExp])[] = [
  ['--container-mounts=:', /container-mounts/],
  ['--container-mounts=/tmp:', /container-mounts/],
  ['--container-mounts=/tmp:mnt:ro', /container-mounts/],
  ['--container-workdir=', /container-workdir/],
  ['--container-env=FOO,', /container-env/],
  ['--container-engine=no-such-engine', /no-such-engine/],
]

test('a bad option fails at submit, in srun, sbatch and salloc, and nothing is queued', async () => {
  // A first step, so that a worker answers on the submit side.
  exits(await at.cluster.srun(['-n1', flag(), 'true']), 0)
  for (const [option, problem] of BAD_OPTIONS) {
    // Two lines, and none of Slurm's about its plugin.
    for (const seen of [
      await at.cluster.srun(['-n1', flag(), option, 'touch', 'must-not-run']),
      await at.cluster.batch('#!/bin/sh\ntouch must-not-run\n', [flag(), option]),
      await at.cluster.salloc([flag(), option, 'touch', 'must-not-run']),
    ])
      saysNot(refuses(exits(seen, 1), problem), /spank|[Pp]lugin/)
  }
  assert.is(await jobCount(), 0)
  assert.not.ok(existsSync(join(at.cluster.shared, 'must-not-run')))
})

test('an image that is not there fails at submit in sbatch', async () => {
  const image = `--container-image=${at.registry.host}/debian:no-such-tag`
  const seen = await at.cluster.batch('#!/bin/sh\ntrue\n', [image])
  refuses(seen, /no-such-tag/)
  assert.is(await jobCount(), 0)
})

test('a step that is refused leaves its place to the next one', async () => {
  const image = `${at.registry.host}/debian:no-such-tag`
  const step = 'srun -n8 --immediate=20'
  const script = [
    `${step} --container-image=${image} touch must-not-run; echo told $?`,
    `${step} --container-image=${at.images.busybox} true && echo next`,
  ].join('; ')
  const seen = await at.cluster.salloc(['-N1', '-n8', 'sh', '-c', script])
  prints(seen, ['told 125', 'next'])
  assert.is(countLines(seen, /failed to import docker image: .*no-such-tag/), 1, seen.output)
  assert.not.ok(existsSync(join(at.cluster.shared, 'must-not-run')))
})

test('--multi-prog: each task its own program, in the image', async () => {
  const file = join(at.cluster.shared, 'multi.conf')
  const lines = [
    '# programs',
    '',
    '0 grep CODENAME /etc/os-release',
    "1-2\techo %t %o 'two  words' \\",
    '  and',
  ]
  writeFileSync(file, [...lines, '3 hello-tool to you', ''].join('\n'))
  const seen = await at.cluster.srun(['-N1', '-n4', flag(), '--multi-prog', file])
  const echoed = ['1 0 two  words and', '2 1 two  words and', 'hello from the image, to you']
  const tidy = { ...seen, stdout: seen.stdout.replace(/ +(?=and)/g, ' ') }
  prints(tidy, [`VERSION_CODENAME=${otherRelease()}`, ...echoed])
  writeFileSync(file, '0 true\n1 no-such-program\n')
  says(
    exits(await at.cluster.srun(['-N1', '-n2', flag(), '--multi-prog', file]), 127),
    /no-such-program: not found/,
  )
  writeFileSync(file, '* grep CODENAME /etc/os-release\n')
  prints(await at.cluster.srun(['-N1', '-n1', '--multi-prog', file]), [`VERSION_CODENAME=${hostRelease()}`])
})

test('--container-explain prints the plan as JSON and runs nothing', async () => {
  const args = ['-n1', flag(), '--container-explain', '--container-mounts=/usr:/host-usr:ro']
  const seen = exits(await at.cluster.srun([...args, 'touch', 'must-not-run']), 0)
  const plan = JSON.parse(seen.stdout) as {
    ociVersion: string
    mounts: { destination: string; source: string }[]
    berth: { mounts: { destination: string; origin: string; reason: string }[] }
  }
  assert.ok(plan.ociVersion)
  const { mounts } = plan.berth
  assert.is(plan.mounts.find(({ destination }) => destination === '/host-usr')?.source, '/usr')
  assert.match(
    mounts.find(({ destination }) => destination === '/host-usr')?.origin ?? '',
    /container-mounts/,
  )
  assert.ok(mounts.every(({ origin, reason }) => origin !== '' && reason !== ''))
  assert.not.ok(existsSync(join(at.cluster.shared, 'must-not-run')))
})

test('a pseudo terminal works', async () => {
  const command = `srun -n1 --pty ${flag()} sh -c 'tty && echo $((6*7))'`
  const seen = exits(await at.cluster.command(['script', '-qec', command, '/dev/null']), 0)
  says(seen, /\/dev\/pts\/\d+\s+42/)
})

test('job and step keep the names of the user’s command', async () => {
  const step = at.cluster.start(['srun', '-n1', flag(), 'sh', '-c', 'echo up; sleep 20'])
  await step.sees(/up/)
  const seen = lines(await at.cluster.command(['squeue', '-h', '-t', 'R', '-o', '%j']))
  assert.equal(seen, ['sh'])
  await step.interrupt()
})

test('array jobs each run in the image', async () => {
  const out = join(at.cluster.shared, 'array-%a')
  const script = '#!/bin/sh\n. /etc/os-release\necho $SLURM_ARRAY_TASK_ID $VERSION_CODENAME\n'
  exits(await at.cluster.batch(script, [flag(), '-a', '1-3', '-o', out]), 0)
  const seen = await at.cluster.command(['sh', '-c', 'cat array-1 array-2 array-3'])
  prints(
    seen,
    [1, 2, 3].map((index) => `${index} ${otherRelease()}`),
  )
})

test.run()
