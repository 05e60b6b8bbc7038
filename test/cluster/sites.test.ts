// SPDX-License-Identifier: Apache-2.0
/** What a site may put on the plugstack line, and the importer interface of pyxis in both directions. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { distOf } from './cluster.js'
import { must, until } from './command.js'
import { countLines, lines, prints, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'
import { USER_A } from './users.js'

const test = suite('sites')
/** Before the cluster, whose plugstack line names what is in it. */
const folder = mkdtempSync(join(tmpdir(), 'berth-site-'))
const PROGRAM = join(folder, 'importer')
const at = useCluster(test, { nodes: [{}], plugArgs: ['batch_scope=step', `importer=${PROGRAM}`] })
const where = ['sh', '-c', 'test -d /boot && echo host || echo image']
/** What takes a second, on a machine that does much else. */
const WAIT_MS_MAX = 60_000
let told = ''

test.before(async () => {
  at.cluster.undo.push('importer', () => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  told = join(at.cluster.shared, 'told')
  writeFileSync(told, '')
  chmodSync(told, 0o666)
  // As pyxis' example is written: a path on stdout, talk on stderr, release as often as it is called.
  writeFileSync(
    PROGRAM,
    `#!/bin/sh
echo "$* $(id -u) $SLURM_JOB_UID $SLURM_JOB_ID.$SLURM_STEP_ID $PYXIS_VERSION" >> ${told}
file="$PYXIS_RUNTIME_PATH/$SLURM_JOB_UID/$SLURM_JOB_ID.$SLURM_STEP_ID.sqsh"
case "$1 $2" in
release*) rm -f "$file"; exit 0 ;;
*thisimagedoesntexist*) echo "cannot fetch it" >&2; exit 1 ;;
esac
mksquashfs /bin/busybox "$file" -quiet -no-progress -p 'made-by-site d 755 0 0' >&2
echo "$file"
`,
    { mode: 0o755 },
  )
  chmodSync(PROGRAM, 0o755)
})

const calls = (): string[] => readFileSync(told, 'utf8').split('\n').filter(Boolean)

test('a foreign importer brings the image, once per step and node, and is told when the step ends', async () => {
  const image = '--container-image=nvcr.io#lab/sim:1'
  const seen = await at.cluster.srun(['-n2', image, '/busybox', 'ls', '-d', '/made-by-site'])
  prints(seen, ['/made-by-site', '/made-by-site'])
  await until('the release', () => calls().some((line) => line.startsWith('release')), WAIT_MS_MAX)
  const [get = '', release = '', ...more] = calls()
  assert.match(get, /^get docker:\/\/nvcr\.io#lab\/sim:1 (\d+) \1 \d+\.\d+ 0\.24\.0$/)
  assert.match(release, new RegExp(`^release ${USER_A.uid} `))
  assert.is(more.filter((line) => line.startsWith('get')).length, 0)
  const failed = await at.cluster.srun(['-n2', '--container-image=thisimagedoesntexist', 'true'])
  const words = /failed to import docker image: thisimagedoesntexist/
  says(refuses(failed, words), /cannot fetch it/)
  assert.is(countLines(failed, words), 1, failed.output)
})

test('berth as the importer of another plugin: called in a step, as the user, with Slurm’s variables', async () => {
  const dist = distOf(at.cluster)
  const berth = `${dist}/node ${dist}/bin/berth.js importer`
  // As pyxis runs it: below slurmstepd, stdout is the path and nothing else.
  const script = `
path=$(${berth} get docker://${at.images.busybox} 2>/dev/null) || exit 1
again=$(${berth} get docker://${at.images.busybox} 2>/dev/null) || exit 2
[ "$path" = "$again" ] && head -c4 "$path" && echo && echo "$path"
[ -z "$LEAVE" ] || exit 0
${berth} release && ${berth} release || exit 3
[ -e "$path" ] && echo still there || echo gone
`
  const run = (env: Record<string, string>) =>
    at.cluster.srun(['-n1', '--container-image=none', 'sh', '-c', script], {
      env: { BERTH_RUNTIME_DIR: at.cluster.nodes[0]?.runtimeDir ?? '', ...env },
    })
  const [magic, path = '', last] = lines(await run({}))
  assert.equal([magic, last], ['hsqs', 'gone'])
  assert.match(path, /^\/.*\.sqsh$/)
  // A step that forgets its release: the end of slurmstepd is one.
  const [, left = ''] = lines(await run({ LEAVE: '1' }))
  assert.match(left, /^\/.*\.sqsh$/)
  await until('nothing handed out', () => !existsSync(left), WAIT_MS_MAX)
})

test('batch_scope=step on the plugstack line: scripts stay on the host, their steps do not', async () => {
  const script = [
    '#!/bin/sh',
    `set -- ${where.map((word) => `'${word}'`).join(' ')}`,
    '"$@"',
    'srun -n1 "$@"',
  ]
  const file = join(at.cluster.shared, 'step.sqsh')
  await must(['mksquashfs', '/bin/busybox', file, '-quiet', '-no-progress', '-p', '/bin d 755 0 0'])
  const image = `--container-image=${file}`
  const steps = script.map((line) => line.replace('srun -n1 "$@"', 'srun -n1 /busybox "$@"')).join('\n')
  prints(await at.cluster.batch(steps, ['-n1', image]), ['host', 'image'])
})

test.run()
