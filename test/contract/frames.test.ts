// SPDX-License-Identifier: Apache-2.0
/** slurm/protocol.h and src/worker/frame.ts are one format: same numbers, same bytes, same refusals. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import {
  encodeFrame,
  type Fields,
  Flag,
  FRAME_BYTES_MAX,
  FrameReader,
  PROTOCOL_VERSION,
  Tag,
  Type,
} from '../../src/worker/frame.js'
import { suite } from '../suite.js'

const CHECKOUT = resolve(import.meta.dirname, '../..')
const test = suite('frames')
const directory = mkdtempSync(join(tmpdir(), 'berth-frames-'))
const program = join(directory, 'frames')
const written = new Map<string, string>()

test.before(() => {
  const sources = [join(import.meta.dirname, 'frames.c'), join(CHECKOUT, 'slurm/frame.c')]
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-g', ...sanitizers]
  execFileSync('cc', [...flags, '-o', program, ...sources])
  for (const line of execFileSync(program, ['write'], { encoding: 'utf8' }).trim().split('\n')) {
    const [name, value] = line.split(' ')
    if (name !== undefined) written.set(name, value ?? '')
  }
})

/** What C reads of these bytes: "TYPE TAG:HEX …" or "refused". */
function readByC(...frames: Buffer[]): string[] {
  const input = frames.map((frame) => `${frame.toString('hex')}\n`).join('')
  return execFileSync(program, ['read'], { encoding: 'utf8', input }).trim().split('\n')
}

/** The members of an enum of protocol.h, without their prefix. */
function enumOf(name: string, prefix: string): Record<string, number> {
  const header = readFileSync(join(CHECKOUT, 'slurm/protocol.h'), 'utf8')
  const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(header)?.[1] ?? ''
  const members = body.matchAll(new RegExp(`^\\s*${prefix}(\\w+) =\\s+(\\d+),`, 'gm'))
  return Object.fromEntries([...members].map(([, key, value]) => [key, Number(value)]))
}

function define(name: string): string {
  const header = readFileSync(join(CHECKOUT, 'slurm/protocol.h'), 'utf8')
  return new RegExp(`#define ${name} (.*)`).exec(header)?.[1] ?? ''
}

/** All `#define PREFIX…` of protocol.h that are numbers, without their prefix. */
function definesOf(prefix: string): Record<string, number> {
  const header = readFileSync(join(CHECKOUT, 'slurm/protocol.h'), 'utf8')
  const found = header.matchAll(new RegExp(`^#define ${prefix}(\\w+) (\\d+)u$`, 'gm'))
  return Object.fromEntries([...found].map(([, key, value]) => [key, Number(value)]))
}

test('both sides number types, tags and flags alike', () => {
  assert.equal(enumOf('berth_type', 'BERTH_'), { ...Type })
  assert.equal(enumOf('berth_tag', 'BERTH_TAG_'), { ...Tag })
  assert.equal(definesOf('BERTH_FLAG_'), { ...Flag })
  assert.is(Number(define('BERTH_PROTOCOL_VERSION')), PROTOCOL_VERSION)
  assert.is(define('BERTH_FRAME_MAX'), '(1u << 20)')
  assert.is(FRAME_BYTES_MAX, 1 << 20)
})

const HANDLE = Buffer.from('000102030405060708090a0b0c0d0eff', 'hex')

/** What frames.c writes, in TypeScript's words. */
const SAME: [string, Buffer][] = [
  ['empty', encodeFrame(Type.ACK)],
  [
    'register',
    encodeFrame(Type.REGISTER, [
      [Tag.HANDLE, HANDLE],
      [Tag.JOB, 4711],
      [Tag.STEP, 0xfffffffb],
      [Tag.GIDS, Buffer.from('040000001b000000feffffff', 'hex')],
      [Tag.CONTEXT, 'batch'],
      [Tag.OPTION, 'container-image=debian:12'],
      [Tag.OPTION, 'container-readonly=1'],
      [Tag.ENV, 'A=1\0EMPTY=\0UTF=ä\0'],
    ]),
  ],
  [
    'hello',
    encodeFrame(Type.HELLO, [
      [Tag.TTY, 80],
      [Tag.ARGV0, ''],
      [Tag.CWD, '/ein/Verzeichnis mit Leerzeichen/ä'],
    ]),
  ],
]

test('both sides write the same bytes', () => {
  for (const [name, frame] of SAME) assert.is(written.get(name), frame.toString('hex'), name)
})

test('TypeScript reads what C wrote, in any pieces', () => {
  const bytes = Buffer.from(written.get('register') ?? '', 'hex')
  for (const size of [1, 7, bytes.length]) {
    const reader = new FrameReader()
    const frames = []
    for (let at = 0; at < bytes.length; at += size) frames.push(...reader.push(bytes.subarray(at, at + size)))
    assert.is(frames.length, 1)
    const frame = frames[0]
    assert.is(frame?.type, Type.REGISTER)
    assert.is(frame?.number(Tag.STEP), 0xfffffffb)
    assert.equal(frame?.numbers(Tag.GIDS), [4, 27, 0xfffffffe])
    assert.equal(frame?.texts(Tag.OPTION), ['container-image=debian:12', 'container-readonly=1'])
    assert.equal(
      [...(frame?.environment() ?? [])],
      [
        ['A', '1'],
        ['EMPTY', ''],
        ['UTF', 'ä'],
      ],
    )
  }
})

test('C reads what TypeScript wrote', () => {
  const fields: Fields = [
    [Tag.NS, 0x10000000],
    [Tag.CWD, '/'],
    [Tag.ENV_SET, 'K=ä=b'],
    [Tag.TEXT, ''],
    [Tag.DONE, 2 ** 40],
  ]
  const seen = readByC(encodeFrame(Type.JOIN, fields), encodeFrame(Type.ACK))
  assert.equal(seen, ['67 29:00000010 3:2f 26:4b3dc3a43d62 22: 38:0000000000010000', '64'])
})

test('both sides refuse the same broken frames', () => {
  const good = encodeFrame(Type.HELLO, [[Tag.ARGV0, 'sh']])
  const change = (at: number, value: number): Buffer => {
    const copy = Buffer.from(good)
    copy[at] = value
    return copy
  }
  // Another version; a field longer than its frame; a field header cut off.
  const broken = [change(6, 9), change(12, 200), encodeFrame(Type.HELLO).fill(5, 0, 1)]
  const cut = Buffer.concat([broken[2] as Buffer, Buffer.from([1])])
  for (const bytes of [broken[0], broken[1], cut]) {
    assert.equal(readByC(bytes as Buffer), ['refused'])
    assert.throws(() => new FrameReader().push(bytes as Buffer))
  }
})

test('both sides stop at the same size', () => {
  assert.is(Number(written.get('largest')), 4 + FRAME_BYTES_MAX)
  assert.is(written.get('beyond'), 'too-large')
  assert.throws(() => encodeFrame(Type.CHECK, [[Tag.ENV, Buffer.alloc(FRAME_BYTES_MAX - 11)]]))
  assert.is(
    encodeFrame(Type.CHECK, [[Tag.ENV, Buffer.alloc(FRAME_BYTES_MAX - 12)]]).length,
    4 + FRAME_BYTES_MAX,
  )
})

test('no descriptor is lost with a broken frame, and no frame takes more than its share', () => {
  const whole = encodeFrame(Type.CALL, [[Tag.NAME, 'ps']])
  const broken = Buffer.alloc(64, 255)
  const reader = new FrameReader()
  assert.throws(() => reader.push(Buffer.concat([whole, broken]), [7, 8]))
  assert.equal(reader.takeFds(), [7, 8])
  const greedy = new FrameReader()
  for (const byte of whole.subarray(0, 8)) assert.equal(greedy.push(Buffer.from([byte]), [9]), [])
  assert.throws(() => greedy.push(whole.subarray(8, 9), [9]), /descriptors/)
  assert.is(greedy.takeFds().length, 9)
})

test('a large frame in the smallest pieces costs no more than in one, and frames before it stay whole', () => {
  const reader = new FrameReader()
  const first = encodeFrame(Type.CALL, [[Tag.NAME, 'first']])
  const large = encodeFrame(Type.CALL, [[Tag.NAME, 'x'.repeat(FRAME_BYTES_MAX - 64)]])
  const bytes = Buffer.concat([first, large, first])
  const frames = reader.push(bytes.subarray(0, first.length + 5))
  const started = performance.now()
  for (let at = first.length + 5; at < bytes.length; at += 16)
    frames.push(...reader.push(bytes.subarray(at, at + 16)))
  // Copying all that is pending for each piece took minutes.
  assert.ok(performance.now() - started < 60_000)
  assert.equal(
    frames.map((frame) => frame.text(Tag.NAME)?.length),
    [5, FRAME_BYTES_MAX - 64, 5],
  )
})

test('random bytes make neither side read beyond them', () => {
  let state = 12345
  const next = (): number => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return state >> 16
  }
  const frames = Array.from({ length: 500 }, () => {
    const body = Buffer.from(
      Array.from({ length: next() % 64 }, () => (next() % 4 === 0 ? next() & 0xff : 0)),
    )
    const header = Buffer.alloc(8)
    header.writeUInt32LE(body.length + 4, 0)
    header.writeUInt16LE(PROTOCOL_VERSION, 6)
    return Buffer.concat([header, body])
  })
  const byC = readByC(...frames).map((line) => line !== 'refused')
  const byTypeScript = frames.map((bytes) => {
    try {
      return new FrameReader().push(bytes).length === 1
    } catch {
      return false
    }
  })
  assert.equal(byC, byTypeScript)
})

test.after(() => rmSync(directory, { recursive: true, force: true }))
test.run()
