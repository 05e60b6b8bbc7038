// SPDX-License-Identifier: Apache-2.0
/** Runs berth-exec as a plain user against a fake worker. */
import { spawn } from 'node:child_process'
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { encodeFrame, type Fields, Flag, type FrameType, Tag, Type } from '../../../src/worker/frame.js'
import { CHECKOUT, compileFake, FakeWorker, makeDirectory, type Rule } from './fake.js'

/** Debian's `nobody`; any uid that is not root's does. */
export const USER = 65534
export const OTHER_USER = 65533

export const launcher = process.env.BERTH_TEST_LAUNCHER ?? join(CHECKOUT, 'dist/berth-exec')
/** Removed by the test file. */
export const directory = makeDirectory()
const program = compileFake(directory.path)
let sockets = 0

interface Told {
  status: number | null
  signal: string | null
  stdout: string
  stderr: string
  fake: FakeWorker
}

interface Start {
  env?: NodeJS.ProcessEnv
  cwd?: string
  uid?: number
  argv0?: string | null
  /** Of prlimit(1). */
  limits?: readonly string[]
  /** Who the worker is; this process' user otherwise. */
  workerUid?: number
}

export function environment(socket: string, start: Start = {}): NodeJS.ProcessEnv {
  const argv0 = start.argv0 === null ? {} : { SLURM_BERTH_ARGV0: start.argv0 ?? 'sh' }
  // Read by the sanitizers alone: what the launcher holds when it fails ends with it.
  const sanitizers = { ASAN_OPTIONS: 'detect_leaks=0' }
  return { PATH: '/usr/bin:/bin', BERTH_SOCKET: socket, ...sanitizers, ...argv0, ...start.env }
}

/** A fake worker at a socket of its own; of another user than this process, in a directory of that user. */
export function startFake(rules: readonly Rule[], uid?: number): Promise<FakeWorker> {
  const place = join(directory.path, `s${sockets++}`)
  if (uid === undefined) return FakeWorker.start(program, directory.path, place, rules)
  mkdirSync(place)
  chownSync(place, uid, uid)
  return FakeWorker.start(program, directory.path, join(place, 'worker.sock'), rules, uid)
}

/** Runs the launcher as Slurm would, in the place of `sh ARGS`. */
export async function launch(
  rules: readonly Rule[],
  args: readonly string[],
  start: Start = {},
): Promise<Told> {
  const fake = await startFake(rules, start.workerUid)
  try {
    const uid = start.uid ?? USER
    const [file, words] =
      start.limits === undefined ? [launcher, [...args]] : ['prlimit', [...start.limits, launcher, ...args]]
    const child = spawn(file, words, {
      uid,
      gid: uid,
      env: environment(fake.socket, start),
      cwd: start.cwd ?? '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [status, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (code, name) => resolve([code, name])),
    )
    return { status, signal, stdout, stderr, fake }
  } finally {
    await fake.stop()
  }
}

export const answer = (type: FrameType, fields: Fields = []): { send: Buffer } => ({
  send: encodeFrame(type, fields),
})
/** Runs the command on the host. */
export const bare = (...fields: Fields): { send: Buffer } =>
  answer(Type.JOIN, [[Tag.FLAGS, Flag.BARE], ...fields])
