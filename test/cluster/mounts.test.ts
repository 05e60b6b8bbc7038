// SPDX-License-Identifier: Apache-2.0
/** --container-mounts and --container-workdir, row by row as users of pyxis know them. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import type { Outcome, RunOptions } from './command.js'
import { exits, fails, lines, prints, refuses, refusesInTwoLines, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { publishLike } from './images.js'
import { makeTar } from './tar.js'

const test = suite('mounts')
const at = useCluster(test, { nodes: [{}] })
const srun = (options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> =>
  at.cluster.srun(['-n1', `--container-image=${at.images.debian}`, ...options, 'sh', '-c', command], run)
const mounted = (options: readonly string[], command: string, run?: RunOptions): Promise<Outcome> =>
  srun(
    options.map((mount) => `--container-mounts=${mount}`),
    command,
    run,
  )

test('a directory appears at a new place', async () => {
  says(
    exits(await mounted(['/home:/test-mnt'], 'findmnt -n /test-mnt; ls /test-mnt'), 0),
    /\/test-mnt[\s\S]*berth-a/,
  )
})

test('relative sources count from the step’s directory, files onto new files', async () => {
  writeFileSync(join(at.cluster.shared, 'data.txt'), 'data\n', { mode: 0o644 })
  prints(await mounted(['./:/here'], 'cat /here/data.txt'), ['data'])
  prints(await mounted(['./data.txt:/new/deep/file.txt'], 'cat /new/deep/file.txt'), ['data'])
  prints(await mounted(['./data.txt:/etc/hostname'], 'cat /etc/hostname'), ['data'])
})

test('a device stays a device', async () => {
  prints(await mounted(['/dev/null:/null'], 'echo x > /null && test -c /null && echo device'), ['device'])
})

test('several in one list and over several flags', async () => {
  const check = 'for d in /a /b /c; do findmnt -n -o TARGET $d; done'
  prints(await mounted(['/usr:/a,/etc:/b,/home:/c'], check), ['/a', '/b', '/c'])
  prints(await mounted(['/usr:/a', '/etc:/b,/home:/c'], check), ['/a', '/b', '/c'])
})

test('the short form mounts at the same place', async () => {
  prints(await mounted(['/var/lib'], 'findmnt -n -o TARGET /var/lib'), ['/var/lib'])
  fails(await mounted([], 'findmnt -n -o TARGET /var/lib'))
})

test('what the user may not read stays unreadable', async () => {
  says(fails(await mounted(['/etc/shadow:/shadow'], 'cat /shadow')), /Permission denied/)
})

test('ro is read-only, rw is not', async () => {
  says(fails(await mounted(['./:/here:ro'], 'touch /here/x')), /Read-only file system/)
  exits(await mounted(['./:/here'], 'touch /here/x && rm /here/x'), 0)
  exits(await mounted(['./:/here:rw'], 'touch /here/x && rm /here/x'), 0)
})

test('+ joins flags', async () => {
  const option = ['./:/here:unbindable+ro']
  says(fails(await mounted(option, 'touch /here/x')), /Read-only file system/)
  says(exits(await mounted(option, 'findmnt -n -o PROPAGATION /here'), 0), /unbindable/)
})

test('a target cannot leave the root', async () => {
  refuses(await mounted(['/tmp:../home'], 'true'), /cross-device link/i)
})

test('a file on a directory and a directory on a file are refused in so many words', async () => {
  refuses(await mounted(['/etc/passwd:/etc'], 'true'), /\/etc: is a directory there, and a file cannot be/)
  refuses(await mounted(['/etc:/etc/passwd'], 'true'), /\/etc\/passwd: is a file there, and a directory/)
})

test('tmpfs, with options', async () => {
  prints(await mounted(['tmpfs:/mine'], 'findmnt -n -o FSTYPE /mine; touch /mine/x && echo ok'), [
    'tmpfs',
    'ok',
  ])
  says(
    exits(await mounted(['tmpfs:/mine:huge=within_size'], 'findmnt -n -o OPTIONS /mine'), 0),
    /huge=within_size/,
  )
})

test('grammar that is refused', async () => {
  for (const bad of ['', ':', '/tmp:', '/tmp:mnt:ro', 'devpts:/x:ro', '/tmp:/x:nonsense']) {
    refuses(await mounted([bad], 'true'), /container-mounts/)
  }
})

test('spaces are letters like any other', async () => {
  mkdirSync(join(at.cluster.shared, 'with space'), { mode: 0o755 })
  writeFileSync(join(at.cluster.shared, 'with space/file'), 'found\n')
  prints(await mounted(['./with space:/in side'], 'cat "/in side/file"'), ['found'])
})

test('a comma and a colon in a path: by a backslash, or in quotes', async () => {
  mkdirSync(join(at.cluster.shared, 'a,b:c'), { mode: 0o755 })
  writeFileSync(join(at.cluster.shared, 'a,b:c/file'), 'found\n')
  for (const mount of ['./a\\,b\\:c:/d\\,e', '"./a,b:c":"/d,e":ro'])
    prints(await mounted([mount], 'cat /d,e/file'), ['found'])
})

test('a missing source is named, also as one of several', async () => {
  for (const option of ['/no/such/dir:/x', '/usr:/a,/no/such/dir:/x']) {
    const seen = await mounted([option], 'true')
    says(refusesInTwoLines(seen, /source path does not exist/), /\/no\/such\/dir/)
  }
})

test('the flag replaces the variable', async () => {
  const env = { PYXIS_CONTAINER_MOUNTS: '/usr:/from-env' }
  exits(await mounted([], 'test -d /from-env/bin', { env }), 0)
  exits(await mounted(['/etc:/from-flag'], 'test -d /from-flag && ! test -e /from-env', { env }), 0)
})

test('mounts of the user do not show on the host', async () => {
  const step = at.cluster.start([
    'srun',
    '-n1',
    `--container-image=${at.images.debian}`,
    '--container-mounts=/usr:/only-inside',
    'sh',
    '-c',
    'echo up; sleep 30',
  ])
  await step.sees(/up/)
  saysNot(await at.cluster.command(['cat', '/proc/self/mountinfo']), /only-inside/)
  await step.interrupt()
})

test('workdir: of the image, by flag, by variable', async () => {
  prints(await srun([], 'pwd'), ['/workspace'])
  prints(await srun(['--container-workdir=/usr/local/bin'], 'pwd'), ['/usr/local/bin'])
  prints(await srun(['--container-workdir=/usr'], 'pwd', { env: { PYXIS_CONTAINER_WORKDIR: '/etc' } }), [
    '/usr',
  ])
  prints(await srun([], 'pwd', { env: { PYXIS_CONTAINER_WORKDIR: '/etc' } }), ['/etc'])
  prints(await srun(['--container-workdir=../'], 'pwd'), ['/'])
})

test('workdir: missing or empty', async () => {
  refuses(await srun(['--container-workdir=/pyxis'], 'pwd'), /\/pyxis: No such file or directory/)
  refuses(await srun(['--container-workdir='], 'pwd'), /container-workdir/)
})

test('workdir: of the image, though no layer has it', async () => {
  const image = await publishLike(at.registry, 'nowhere', { workdir: '/made/for/it' })
  const run = (...options: string[]) =>
    at.cluster.srun([
      '-n1',
      `--container-image=${image}`,
      ...options,
      'sh',
      '-c',
      'pwd; touch x && echo wrote',
    ])
  prints(await run('--container-writable'), ['/made/for/it', 'wrote'])
  const readonly = fails(await run('--container-readonly'))
  says(says(readonly, /^\/made\/for\/it$/m), /Read-only file system/)
  // Inside what the user mounts there, as a command in the image would make it.
  const data = join(at.cluster.shared, 'workdirs')
  mkdirSync(data)
  chmodSync(data, 0o777)
  prints(await run(`--container-mounts=${data}:/made`), ['/made/for/it', 'wrote'])
})

test('volumes of the image can be written where the root cannot, and have what the image has there', async () => {
  const content = makeTar([
    { name: 'srv/', type: '5' },
    { name: 'srv/data/', type: '5' },
    { name: 'srv/data/first', content: 'of the image\n' },
  ])
  const more = { layers: [content], volumes: ['/srv/data', '/made/for/it'] }
  const image = await publishLike(at.registry, 'volumes', more)
  const inside = (options: readonly string[], script: string) =>
    at.cluster.srun(['-n1', `--container-image=${image}`, ...options, 'sh', '-c', script])
  const script = `cat /srv/data/first; echo changed > /srv/data/first; echo new > /made/for/it/file
    cat /srv/data/first /made/for/it/file; touch /srv/x 2>&1 | grep -o 'Read-only.*' || true`
  const seen = ['of the image', 'changed', 'new', 'Read-only file system']
  prints(await inside([], script), seen)
  prints(await inside(['--container-readonly'], script), seen)
  prints(await inside(['--container-writable'], script), seen.slice(0, -1))
  // Nothing of it stays, and a mount of the user's goes before.
  const mount = `--container-mounts=${at.cluster.shared}:/srv/data:ro`
  says(fails(await inside([mount], 'cat /made/for/it/file; echo x > /srv/data/x')), /Read-only file system/)
  // A named container keeps it.
  const named = ['--container-name=volumes', '--container-readonly']
  exits(await inside(named, 'echo kept > /srv/data/first'), 0)
  prints(await inside(named, 'cat /srv/data/first; touch /srv/x 2>&1 | grep -o "Read-only.*"'), [
    'kept',
    'Read-only file system',
  ])
})

test('an image without a directory of its own starts in /', async () => {
  const seen = await at.cluster.srun(['-n1', `--container-image=${at.images.busybox}`, 'sh', '-c', 'pwd'])
  assert.equal(lines(seen), ['/'])
})

test.run()
