// SPDX-License-Identifier: Apache-2.0
/** What an engine's user makes of a view is taken over with the user's own rights only, and locked. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import * as assert from 'uvu/assert'
import type { BuiltNamespace, EngineRoot, MountStep, NativeError } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { bind, file, Lab, missing, PROC, USER } from './lab.js'

const test = suite('root of an engine')
const needs = missing()
const lab = new Lab()
const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const NAME = '.berth-hold-test'
const O_PATH = 0o10000000
/** Covered in a view; not the lab's own, whose files the tests need. */
const STAGING = '/mnt'
const ROOT = `${STAGING}/root`
const CONTROL = 3
/** One that turns in circles has some ten ticks in this time even where others want the processor, one that sleeps none. */
const WATCHED_MS = 500
const TICKS_MAX = 3

test.before(async () => {
  if (needs === undefined) await lab.start()
})
test.after(() => lab.stop())

interface Engine {
  view: BuiltNamespace
  root: EngineRoot
  /** What its script printed before the last line. */
  said: string[]
  /** Of berth-tend. */
  pid: number
  /** Ends it at once with a byte, as a worker that goes away does without one. */
  stop(byte?: string): Promise<void>
}

/** Runs `script` as the user with all capabilities in namespaces of its own; then a process lives in the root. */
async function startEngine(script: string): Promise<Engine> {
  const view = await lab.native.buildNamespace(
    lab.spec([], {
      staging: STAGING,
      view: { program: join(DIST, 'berth-hold'), name: NAME, files: [], hidden: [] },
    }),
  )
  const shell = `${script}\necho holder $$; exec chroot ${ROOT} /bin/sleep 1000`
  const tend = spawn(join(DIST, 'berth-tend'), { stdio: ['ignore', 'pipe', 'inherit', 'pipe'], env: {} })
  const control = tend.stdio[CONTROL] as Duplex
  const argv = ['/usr/bin/unshare', '-Urm', '/bin/sh', '-ec', shell]
  const who = [USER.uid, USER.gid, USER.gids.join(',')]
  const order = [...who, view.mountNs, '', argv.length, ...argv, 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']
    .map((word) => `${word}\0`)
    .join('')
  control.write(`${order.length}\n${order}`)
  let text = ''
  tend.stdout?.on('data', (piece: Buffer) => {
    text += piece.toString()
  })
  while (!/^holder \d+\n/m.test(text)) {
    if (tend.exitCode !== null) throw new Error('the engine ended')
    await pause()
  }
  const said = text.trim().split('\n')
  const pid = said.pop()?.split(' ')[1]
  while (!readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('sleep')) await pause()
  const root: EngineRoot = {
    mountNs: openSync(`/proc/${pid}/ns/mnt`, 'r'),
    root: openSync(`/proc/${pid}/root`, O_PATH | constants.O_DIRECTORY),
    prepared: view.prepared ?? -1,
    name: NAME,
    inside: '/',
  }
  const stop = async (byte?: string): Promise<void> => {
    const ended = once(tend, 'exit')
    if (byte === undefined) control.destroy()
    else control.end(byte)
    await ended
    for (const fd of [root.mountNs, root.root, view.mountNs, root.prepared]) closeSync(fd)
  }
  return { view, root, said, pid: tend.pid ?? 0, stop }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}

async function within(script: string, body: (engine: Engine) => Promise<void>): Promise<void> {
  const engine = await startEngine(script)
  try {
    await body(engine)
  } finally {
    await engine.stop('k')
  }
}

async function failure(steps: MountStep[], engine: EngineRoot): Promise<NativeError> {
  return lab.build(steps, { engine }).then(
    () => assert.unreachable('it was built'),
    (error: NativeError) => error,
  ) as Promise<NativeError>
}

/** Only root may write to it. */
function hostDirectory(name: string): string {
  const path = lab.path(name)
  mkdirSync(path, { mode: 0o755 })
  return path
}

test.needs(needs, 'its mounts are there, the plan’s lie above, its program is gone, ids are the user’s', () =>
  within(`mount -t tmpfs none ${ROOT}/opt; echo by the engine >${ROOT}/opt/made`, async ({ root }) => {
    const built = await lab.build([PROC, file('/opt/planned', 'by the plan\n')], { engine: root })
    const inside = lab.enter(
      built,
      'cat /opt/made /opt/planned; id -u; ls -a /; touch /new && stat -c %u /new',
    )
    lab.close(built)
    assert.match(inside.stdout, `by the engine\nby the plan\n${USER.uid}\n`)
    assert.match(inside.stdout, new RegExp(`${USER.uid}\n$`))
    assert.not.match(inside.stdout, 'berth-hold')
  }),
)

test.needs(needs, 'a directory of the host that it put there is not changed with root’s rights', async () => {
  const host = hostDirectory('hosts')
  await within(`mount --bind ${host} ${ROOT}/etc`, async ({ root }) => {
    for (const step of [
      bind('/usr', '/etc/made/deep'),
      file('/etc/made', 'x'),
      { ...file('/etc/made', 'x'), plain: true } as MountStep,
      { kind: 'dir', target: '/etc/made', mode: 0o755 } as MountStep,
      { kind: 'symlink', target: '/etc/made', to: 'x' } as MountStep,
    ]) {
      const error = await failure([step], root)
      assert.ok(['EACCES', 'EPERM', 'ENOENT'].includes(error.code), `${step.kind}: ${error.message}`)
      assert.not(existsSync(join(host, 'made')), step.kind)
    }
  })
})

test.needs(needs, 'every mount is nosuid and nodev, and locked against all capabilities', () =>
  within(`mount -t tmpfs none ${ROOT}/opt`, async ({ root }) => {
    const ro = { ...bind('/usr', '/data'), flags: ['ro'] } as MountStep
    const built = await lab.build([PROC, ro], { engine: root })
    const flags = lab.enter(built, "grep -vE ' (/proc|/data)[ /]' /proc/self/mountinfo")
    for (const line of flags.stdout.trim().split('\n')) assert.match(line, /nosuid.*nodev/)
    const script =
      'umount /opt; umount /data; mount -o remount,bind,rw /data && echo writable; mount -o remount,bind,dev,suid / && echo devices'
    const tried = lab.enter(built, script, { capabilities: true })
    lab.close(built)
    assert.is(tried.stdout, '')
  }),
)

test.needs(needs, 'a process elsewhere is not believed', () =>
  within('true', async ({ root }) => {
    const hosts = { mountNs: openSync('/proc/self/ns/mnt', 'r'), root: openSync('/', O_PATH) }
    const error = await failure([], { ...root, ...hosts })
    for (const fd of Object.values(hosts)) closeSync(fd)
    assert.is(error.code, 'ENOENT')
    assert.match(error.message, 'did not run in the root')
    // One that was taken over already has no program any more.
    lab.close(await lab.build([], { engine: root }))
    assert.is((await failure([], root)).code, 'ENOENT')
  }),
)

test.needs(needs, 'the view is the user’s to use and nobody else’s to see', () =>
  within(`stat -c '%u %a' /mnt/work /mnt/run; ls /mnt/root/bin >/dev/null`, async ({ said, view }) => {
    assert.equal(said, [`0 700`, `0 700`], 'as root of its own namespace it owns them')
    assert.is.not(readlinkSync(`/proc/self/fd/${view.mountNs}`), readlinkSync('/proc/self/ns/mnt'))
    assert.not(existsSync(ROOT))
  }),
)

test.needs(needs, 'berth-tend sleeps while its engine runs', () =>
  within('true', async ({ pid }) => {
    const before = ticks(pid)
    await new Promise((resolve) => setTimeout(resolve, WATCHED_MS))
    assert.ok(ticks(pid) - before < TICKS_MAX, `${ticks(pid) - before} ticks in ${WATCHED_MS} ms`)
  }),
)

/** Processor time, hundredths of a second (proc(5), fields 14 and 15 of stat). */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return Number(fields[11]) + Number(fields[12])
}

for (const [way, byte] of [
  ['told to', 'k'],
  ['the worker goes', undefined],
] as const) {
  test.needs(needs, `berth-tend ends what was forked away, when ${way}`, async () => {
    const engine = await startEngine('setsid --wait sh -c "sleep 1000 & echo \\$!"')
    const [forked = ''] = engine.said
    assert.ok(statSync(`/proc/${forked}`))
    await engine.stop(byte)
    assert.not(existsSync(`/proc/${forked}`))
  })
}

test.run()
