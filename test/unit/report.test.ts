// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BerthError, ERRORS, renderError } from '../../src/report/errors.js'
import { IMAGE_ERRORS } from '../../src/report/image_errors.js'
import { createLog } from '../../src/report/log.js'
import { NodeProgress } from '../../src/report/node_progress.js'
import { formatBytes, Progress, progressMode } from '../../src/report/progress.js'
import { redact } from '../../src/report/redact.js'
import { SITE_ERRORS } from '../../src/report/site_errors.js'
import { STEP_ERRORS } from '../../src/report/step_errors.js'
import { suite } from '../suite.js'

const test = suite('reports')
const MB = 2 ** 20
/** Clears to the end of the line. */
const WIPE = '\u001b[K'
const image = 'docker.io/library/debian:12'

function bytes(done: number, at: number) {
  return { kind: 'bytes', done: done * MB, total: 100 * MB, layersDone: 1, layers: 4, at } as const
}

test('a quick import without a terminal is exactly two lines', () => {
  const progress = new Progress({ columns: 0, mode: 'auto' })
  const text = [
    progress.take({ kind: 'start', image, at: 1000 }),
    progress.take(bytes(10, 1500)),
    progress.take(bytes(90, 3000)),
    progress.take({ kind: 'end', bytes: 52 * MB, at: 3100 }),
  ].join('')
  assert.equal(text, `berth: importing ${image} …\nberth: imported ${image} in 2.1 s (52 MB)\n`)
})

test('who imports it for all is told once, then its progress', () => {
  const progress = new Progress({ columns: 0, mode: 'auto' })
  progress.take({ kind: 'start', image, at: 0 })
  const there = (done: number, at: number) => progress.take({ ...bytes(done, at), node: 'n7' })
  assert.equal(there(10, 100), `berth: waiting for n7, which imports ${image}\n`)
  assert.equal(there(20, 2000), '')
  assert.equal(there(50, 6000), `berth: importing ${image} … 50 MB of 100 MB on n7, 8 MB/s, layers 1/4\n`)
})

test('a shared store that does not answer is told at once, then every five seconds', () => {
  const silent = (at: number) => ({ kind: 'silent', directory: '/lustre/berth', at }) as const
  const progress = new Progress({ columns: 0, mode: 'auto' })
  progress.take({ kind: 'start', image, at: 0 })
  const line = 'berth: waiting for the shared store /lustre/berth, which does not answer\n'
  assert.deepEqual(
    [2000, 4000, 6000, 8000].map((at) => progress.take(silent(at))),
    [line, '', '', line],
  )
  assert.equal(progress.take({ kind: 'end', bytes: 52 * MB, at: 9000 }).includes('imported'), true)
  const drawn = new Progress({ columns: 80, mode: 'auto' })
  drawn.take({ kind: 'start', image, at: 0 })
  assert.equal(drawn.take(silent(2000)), `\rberth: importing ${image} … no answer from /lustre/berth${WIPE}`)
})

test('a registry that lets a question wait is named, then for how long', () => {
  const asking = (seconds: number, host = 'registry.example:5000') =>
    ({ kind: 'asking', host, seconds, at: seconds * 1000 }) as const
  const progress = new Progress({ columns: 0, mode: 'auto' })
  assert.deepEqual(
    [asking(2), asking(3), asking(7), asking(9), asking(10, 'auth.example')].map((one) => progress.take(one)),
    [
      'berth: asking registry.example:5000 …\n',
      '',
      'berth: asking registry.example:5000 … no answer for 7 s\n',
      '',
      'berth: asking auth.example …\n',
    ],
  )
  assert.equal(progress.take({ kind: 'stored', image, bytes: 1 }), '')
  const drawn = new Progress({ columns: 80, mode: 'auto' })
  assert.equal(drawn.take(asking(2)), `\rberth: asking registry.example:5000 …${WIPE}`)
  assert.equal(drawn.take(asking(3)), `\rberth: asking registry.example:5000 … no answer for 3 s${WIPE}`)
  assert.equal(drawn.take({ kind: 'stored', image, bytes: 1 }), `\r${WIPE}`)
  const later = drawn.take({ ...asking(4), status: 429 })
  assert.equal(later, `\rberth: asking registry.example:5000 … HTTP 429, trying again for 4 s${WIPE}`)
  assert.equal(new NodeProgress('n7', 'auto').take(asking(60)), '')
  assert.equal(new Progress({ columns: 80, mode: 'none' }).take(asking(60)), '')
})

test('what docker saves is counted for itself, and the import after it from its own start', () => {
  const progress = new Progress({ columns: 0, mode: 'auto' })
  const saved = (done: number, at: number, total = 100) =>
    progress.take({ ...bytes(done, at), total: total * MB, layers: 0, layersDone: 0, from: 'docker' })
  progress.take({ kind: 'start', image, at: 0 })
  assert.equal(saved(0, 0) + saved(20, 4000), '')
  assert.equal(saved(50, 5000), `berth: importing ${image} … 50 MB of 100 MB from docker, 10 MB/s\n`)
  assert.equal(saved(110, 10_000, 0), `berth: importing ${image} … 110 MB from docker, 11 MB/s\n`)
  assert.equal(progress.take(bytes(10, 11_000)), '')
  assert.equal(
    progress.take(bytes(50, 15_000)),
    `berth: importing ${image} … 50 MB of 100 MB, 10 MB/s, layers 1/4\n`,
  )
  const end = progress.take({ kind: 'end', bytes: 52 * MB, at: 16_000 })
  assert.equal(end, `berth: imported ${image} in 16.0 s (52 MB)\n`)
})

test('a slow one adds a line every five seconds', () => {
  const progress = new Progress({ columns: 0, mode: 'auto' })
  progress.take({ kind: 'start', image, at: 0 })
  const lines = Array.from({ length: 12 }, (_, second) =>
    progress.take(bytes(second * 5, second * 1000 + 1000)),
  )
  assert.deepEqual(
    lines.filter((line) => line !== ''),
    [
      `berth: importing ${image} … 20 MB of 100 MB, 4 MB/s, layers 1/4\n`,
      `berth: importing ${image} … 45 MB of 100 MB, 5 MB/s, layers 1/4\n`,
    ],
  )
})

test('a terminal has one line, redrawn, cut to its width, and wiped at the end', () => {
  const progress = new Progress({ columns: 64, mode: 'auto' })
  const first = progress.take({ kind: 'start', image, at: 0 })
  assert.equal(first, `\rberth: importing ${image} …${WIPE}`)
  assert.equal(progress.take(bytes(1, 50)), '')
  const second = `\rberth: importing …ebian:12 … 1 MB of 100 MB, 5 MB/s, layers 1/4${WIPE}`
  assert.equal(progress.take(bytes(1, 200)), second)
  const last = `\r${WIPE}berth: imported ${image} in 0.9 s (1 MB)\n`
  assert.equal(progress.take({ kind: 'end', bytes: MB, at: 900 }), last)
  const narrow = new Progress({ columns: 20, mode: 'auto' })
  assert.equal(narrow.take({ kind: 'start', image, at: 0 }), `\rberth: importing …2${WIPE}`)
})

test('a failed import leaves the line empty for the error', () => {
  const progress = new Progress({ columns: 40, mode: 'auto' })
  progress.take({ kind: 'start', image, at: 0 })
  assert.equal(progress.take({ kind: 'failed', at: 1 }), `\r${WIPE}`)
  assert.equal(new Progress({ columns: 0, mode: 'auto' }).take({ kind: 'failed', at: 1 }), '')
})

test('another node than the first says nothing, until it has taken minutes: then where it is, and its end', () => {
  const MINUTE = 60_000
  const take = (node: NodeProgress, until: number) => {
    let said = node.take({ kind: 'start', image, at: 0 })
    for (let at = 0; at <= until; at += MINUTE / 2) said += node.take(bytes(1, at))
    return said + node.take({ kind: 'end', bytes: 1 << 20, at: until })
  }
  assert.equal(take(new NodeProgress('n7', 'auto'), 4 * MINUTE), '')
  assert.equal(new NodeProgress('n7', 'always').take({ kind: 'stored', image, bytes: 1 }), '')
  const lines = take(new NodeProgress('n7', 'auto'), 11 * MINUTE).split('\n')
  assert.equal(lines.length, 4)
  for (const line of lines.slice(0, 3)) assert.match(line, /^berth: n7: import/)
  assert.match(lines[2] ?? '', /imported/)
})

test('BERTH_PROGRESS silences it or makes it plain', () => {
  const mode = (word: string) => progressMode(new Map([['BERTH_PROGRESS', word]]), 'auto')
  assert.deepEqual(
    [mode('none'), mode('plain'), mode('fancy'), mode('always'), progressMode(new Map(), 'none')],
    ['none', 'plain', 'auto', 'always', 'none'],
  )
  const silent = new Progress({ columns: 80, mode: 'none' })
  assert.equal(
    silent.take({ kind: 'start', image, at: 0 }) + silent.take({ kind: 'end', bytes: 1, at: 9 }),
    '',
  )
  const plain = new Progress({ columns: 80, mode: 'plain' })
  assert.equal(plain.take({ kind: 'start', image, at: 0 }), `berth: importing ${image} …\n`)
})

test('bytes read like those of ls -h', () => {
  assert.deepEqual([0, 1, 1024, MB, 2.5 * MB, 9 * 2 ** 30, 12 * 2 ** 30].map(formatBytes), [
    '0 KB',
    '1 KB',
    '1 KB',
    '1 MB',
    '3 MB',
    '9216 MB',
    '12.0 GB',
  ])
})

test('a log line has time, level, message and fields, one line each', () => {
  const lines: string[] = []
  const now = () => new Date(0)
  const log = createLog({ level: 'info', write: (line) => lines.push(line), now })
  log.with({ step: '4711.0' }).info('image ready', { image: 'a b', bytes: 12, absent: undefined })
  log.debug('not shown')
  log.error('two\nlines\u001b[31m')
  assert.deepEqual(lines, [
    '1970-01-01T00:00:00.000Z info image ready step=4711.0 image="a b" bytes=12\n',
    '1970-01-01T00:00:00.000Z error two | lines?[31m\n',
  ])
})

test('a user who floods the log is cut short and told of in one line, others are not', () => {
  const lines: string[] = []
  let at = 0
  const log = createLog({ level: 'info', write: (line) => lines.push(line), now: () => new Date(at) })
  for (let i = 0; i < 2000; i++) log.with({ uid: 5 }).info('request failed')
  const written = lines.length
  assert.ok(written >= 512 && written < 600, `${written} lines`)
  log.info('request failed', { uid: 6 })
  for (let i = 0; i < 2000; i++) log.info('root may', { uid: 0 })
  assert.equal(lines.length, written + 2001)
  at = 60_000
  log.info('request failed', { uid: 5 })
  log.info('request failed', { uid: 5 })
  const told = lines.filter((line) => line.includes('suppressed'))
  assert.deepEqual(told, [`1970-01-01T00:01:00.000Z warn suppressed ${2000 - written} lines of user 5\n`])
  for (let i = 0; i < 100; i++) log.info('request failed', { uid: 5 })
  lines.length = 0
  log.info('worker ends')
  assert.match(lines.join(''), /suppressed \d+ lines of user 5\n.*worker ends/)
})

test('secrets do not reach the log', () => {
  const lines: string[] = []
  const log = createLog({ level: 'debug', write: (line) => lines.push(line) })
  log.info('GET https://me:hunter2@reg.io/v2/?token=hunter2&x=1', {
    password: 'hunter2',
    url: 'http://a:hunter2@b',
  })
  log.info('header Authorization: Bearer hunter2hunter2', { registryToken: 'hunter2' })
  log.info('{"access_token":"hunter2","n":1} X-Amz-Signature=hunter2')
  assert.doesNotMatch(lines.join(''), /hunter2/)
  assert.match(lines[0] ?? '', /https:\/\/\*\*\*@reg\.io\/v2\/\?token=\*\*\*&x=1/)
})

test('a megabyte of a user’s text costs the log no time', () => {
  const lines: string[] = []
  const log = createLog({ level: 'debug', write: (line) => lines.push(line) })
  const started = performance.now()
  for (const piece of ['a', '-', 'token', '://a@'])
    log.info(piece.repeat(1 << 18), { text: piece.repeat(1 << 18) })
  assert.ok(performance.now() - started < 20_000)
  assert.ok(lines.every(({ length }) => length <= 4097))
})

test('what is no secret stays readable', () => {
  for (const text of ['sha256:abc of quay.io/a/b@sha256:12', 'basic test', 'mount /a:/b', 'user@host']) {
    assert.equal(redact(text), text)
  }
})

test('an error is fact, place and next step', () => {
  const error = new BerthError('BERTH_EMOUNTSOURCE', { path: '/nope' })
  assert.equal(
    renderError(error, 'node n1, step 4711.0'),
    [
      'berth: error[BERTH_EMOUNTSOURCE]: --container-mounts: source path does not exist: /nope',
      '  on node n1, step 4711.0',
      'hint: check the path on the compute node, as the user of the job',
      '',
    ].join('\n'),
  )
  assert.equal(error.exit, 125)
})

test('every error is lower case, without a final period, with a next step', () => {
  for (const [code, { text, hint }] of Object.entries(ERRORS)) {
    for (const sentence of [text, hint]) assert.doesNotMatch(sentence, /\.$/, code)
    assert.match(text, /^[^A-Z]/, code)
    assert.match(hint, /^[^A-Z]/, code)
  }
})

test('each table of errors is in alphabetical order', () => {
  for (const table of [IMAGE_ERRORS, SITE_ERRORS, STEP_ERRORS])
    assert.deepEqual(Object.keys(table), Object.keys(table).sort())
})

test('a log file that cannot start anew grows on, and ends nobody', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-log-'))
  try {
    const path = join(folder, 'worker.log')
    writeFileSync(path, '')
    truncateSync(path, 17 << 20)
    // As one that may only be appended to (chattr +a): it cannot be cut.
    const stderr = openSync(path, 'r')
    const module = join(import.meta.dirname, '../../src/report/log_file.ts')
    const script = `const { toBoundedFile } = await import(${JSON.stringify(module)})
      toBoundedFile(${JSON.stringify(path)})('a line')
      console.log('lives')`
    const words = ['--import', 'tsx', '--input-type=module', '-e', script]
    const said = spawnSync(process.execPath, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', stderr] })
    closeSync(stderr)
    assert.equal(said.stdout, 'lives\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
