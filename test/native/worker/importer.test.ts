// SPDX-License-Identifier: Apache-2.0
/** `berth importer`, as stock pyxis calls it: below a slurmstepd, as the user, with Slurm's variables. */
import { deepEqual, equal, match, notEqual } from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Handouts } from '../../../src/worker/handouts.js'
import { processAlive } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { collect, DIST, missingForNode, OTHER_UID, type Said, TestNode, UID, until } from './node.js'

const test = suite('berth importer')
const missing = missingForNode()
let node: TestNode
let registry: MoodyRegistry

test.before(async () => {
  if (missing !== undefined) return
  registry = await MoodyRegistry.start()
  node = new TestNode()
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  registry.stop()
  equal((await node.stop()).join('\n'), '')
})

interface Caller {
  uid?: number
  job?: string
  step?: string
}

/** The registry answers from this process, so nothing may block it. */
function importer(
  words: readonly string[],
  { uid = UID, job = '7', step = '0' }: Caller = {},
): Promise<Said> {
  const { command, args, options } = node.cliCommand(uid, 'importer', ...words)
  return collect(
    spawn(command, args, { ...options, env: { ...options.env, SLURM_JOB_ID: job, SLURM_STEP_ID: step } }),
  )
}

function canRead(uid: number, path: string): boolean {
  const words = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'head', '-c', '4', path]
  return spawnSync('setpriv', words, { encoding: 'utf8' }).stdout === 'hsqs'
}

async function get(caller?: Caller): Promise<string> {
  const { status, stdout, stderr } = await importer(['get', `docker://${registry.image()}`], caller)
  equal(status, 0, stderr)
  match(stdout, /^\/\S+\.sqsh\n$/)
  return stdout.trim()
}

test.needs(
  missing,
  'get prints one path, of a file that the user may read and nobody may change',
  async () => {
    const path = await get()
    const { uid, mode, nlink } = statSync(path)
    deepEqual({ uid, mode: mode & 0o7777, nlink }, { uid: 0, mode: 0o444, nlink: 1 })
    equal(canRead(UID, path), true)
    for (const folder of [node.store, join(node.store, 'handed'), dirname(path)])
      equal(statSync(folder).mode & 0o7777, 0o711)
    for (const folder of readdirSync(node.store).filter((name) => name !== 'handed'))
      equal(statSync(join(node.store, folder)).mode & 0o077, 0, folder)
  },
)

test.needs(missing, 'what get hands out says all of the image, to enroot too', async () => {
  const path = await get()
  const { stdout, stderr } = spawnSync('unsquashfs', ['-lls', '-d', '', path], { encoding: 'utf8' })
  equal(stderr, '')
  for (const [name, mode] of [
    ['/etc/environment', '-rw-r--r--'],
    ['/etc/rc', '-rw-r--r--'],
    ['/etc/fstab', '-rw-r--r--'],
    ['/.berth/image.json', '-rw-r--r--'],
  ] as const)
    match(stdout, new RegExp(`^${mode} root/root .* ${name.replaceAll('.', '\\.')}$`, 'm'))
  const cat = (name: string) => spawnSync('unsquashfs', ['-cat', path, name], { encoding: 'utf8' }).stdout
  equal(cat('etc/environment'), 'FROM_IMAGE=yes\n')
  match(cat('etc/rc'), /^# enroot-provenance: docker:\/\/127\.0\.0\.1:\d+\/moody\/image:1$/m)
  match(cat('etc/rc'), /^cd '\/etc' /m)
  // The image's own files are there, and the kernel would take it.
  equal(spawnSync('unsquashfs', ['-quiet', '-no-progress', '-d', join(node.dir, 'unpacked'), path]).status, 0)
})

test.needs(missing, 'a second get of a step replaces the first, other steps have their own', async () => {
  const path = await get()
  const layers = registry.layers
  equal(await get(), path)
  notEqual(await get({ step: '1' }), path)
  equal(registry.layers, layers)
})

test.needs(missing, 'release takes what this step of this user has, as often as it is called', async () => {
  const [mine, other, theirs] = [await get(), await get({ step: '1' }), await get({ uid: OTHER_UID })]
  for (const _ of [1, 2]) deepEqual(await importer(['release']), { status: 0, stdout: '', stderr: '' })
  deepEqual(
    [mine, other, theirs].map((path) => existsSync(path)),
    [false, true, true],
  )
  await importer(['release'], { step: '1' })
  await importer(['release'], { uid: OTHER_UID })
  deepEqual(
    [other, theirs].map((path) => existsSync(path)),
    [false, false],
  )
})

test.needs(missing, 'the end of slurmstepd gives back what nobody released', async () => {
  const stepd = join(node.dir, 'slurmstepd')
  copyFileSync('/bin/sh', stepd)
  const { command, args, options } = node.cliCommand(UID, 'importer', 'get', registry.image())
  // Through a script of the site, as sites do it.
  const script = join(node.dir, 'site-importer')
  writeFileSync(script, `${[command, ...args].map((word) => `'${word}'`).join(' ')}\nexit $?\n`)
  const env = { ...options.env, SLURM_JOB_ID: '8', SLURM_STEP_ID: '0' }
  const child = spawn(stepd, ['-c', `sh ${script}; read line`], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  let path = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    path += text
  })
  await until('a path', () => path.endsWith('\n'))
  path = path.trim()
  match(path, new RegExp(`/8\\.0\\.${child.pid}\\.\\d+\\.sqsh$`))
  equal(existsSync(path), true)
  child.stdin?.end()
  await until('the end of the file', () => !existsSync(path))
})

test.needs(missing, 'what ended steps left is given back by the next worker', async () => {
  const ended = join(node.store, 'handed', String(UID), '9.0.1.1.sqsh')
  await get()
  const pid = await node.workerPid()
  process.kill(pid, 'SIGKILL')
  await until('the end of the worker', () => !processAlive(pid))
  writeFileSync(ended, '')
  // What it cannot remove is told, and keeps nobody from work.
  const stuck = join(dirname(ended), '9.1.1.1.sqsh')
  mkdirSync(stuck)
  await get()
  equal(existsSync(ended), false)
  match(node.log, new RegExp(`cannot give back ${stuck}: `))
  rmSync(stuck, { recursive: true })
})

test.needs(missing, 'a squashfs file is its own answer', async () => {
  const { stdout } = await importer(['get', node.image])
  equal(stdout, `${node.image}\n`)
})

test.needs(missing, 'errors go to stderr, with an exit code', async () => {
  const nowhere = await importer(['get', registry.image()], { job: '' })
  equal(nowhere.status, 1)
  equal(nowhere.stdout, '')
  match(nowhere.stderr, /error\[BERTH_EJOB\]: job "" and step "0" name no step\n/)
  const climbing = await importer(['get', registry.image()], { step: '../../x' })
  match(climbing.stderr, /error\[BERTH_EJOB\]: job "7" and step "\.\.\/\.\.\/x" name no step\n/)
  registry.turn('refuse')
  const absent = await importer(['get', registry.image('absent')])
  registry.turn('answer')
  equal(absent.status, 1)
  match(absent.stderr, /error\[BERTH_EIMAGENOTFOUND\]/)
  match((await importer(['get'])).stderr, /say get IMAGE_URI or release/)
})

test.needs(missing, "a private image is a copy of the user's own", async () => {
  const built = (await import(join(DIST, 'worker/handouts.js'))) as { Handouts: typeof Handouts }
  const handouts = new built.Handouts(node.store, () => undefined)
  const claim = { uid: UID, gid: UID, job: '11', step: '0', pid: process.pid }
  const write = async (out: number) => void writeSync(out, 'hsqs')
  const path = await handouts.give({ size: 4, open: false, write }, claim)
  const { uid, mode, nlink } = statSync(path)
  deepEqual({ uid, mode: mode & 0o7777, nlink }, { uid: UID, mode: 0o400, nlink: 1 })
  deepEqual([canRead(UID, path), canRead(OTHER_UID, path)], [true, false])
  equal(readFileSync(path, 'utf8'), 'hsqs')
  equal(handouts.release(claim), 1)
  equal(handouts.release(claim), 0)
})

test.run()
