// SPDX-License-Identifier: Apache-2.0
/** Damaged images are refused, or hold what they promise: with our reader and with the kernel. */
import * as assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FUZZ_SECONDS } from '../../fuzz/fuzzer.js'
import { suite } from '../../suite.js'
import { build } from '../squash/workbench.js'
import { buildInspect, hasProgram, Lab, mountMissing, must, run } from './lab.js'

/** Of one image: about five seconds of a core with sanitizers. For a long run a random seed, and as many as its time is for. */
const MUTANTS = 1200
const SEED = FUZZ_SECONDS > 0 ? Date.now() % 1_000_000 : 1
const WANTED = FUZZ_SECONDS > 0 ? FUZZ_SECONDS * 1000 : MUTANTS

const test = suite('damaged squashfs')
const lab = new Lab(buildInspect())
const seeds = lab.path('seeds')
const missing = mountMissing ?? (hasProgram('mksquashfs') ? undefined : 'squashfs-tools')
if (missing === undefined) must('sh', join(import.meta.dirname, '../../fuzz/squashfs_seeds.sh'), seeds)

test.after(() => lab.close())

for (const seed of ['plain', 'plain-gzip', 'plain-tails', 'plain-lzo', 'zstd']) {
  test.needs(
    missing,
    `mutants of ${seed}: none crashes, accepted ones read like the kernel reads them`,
    () => {
      const mutate = build('native/reader/mutate.cc', {
        flavour: 'sanitized',
        more: ['native/reader/exercise.cc'],
      })
      const kept = lab.path(`kept-${seed}`)
      mkdirSync(kept)
      const done = run(mutate, [join(seeds, seed), String(WANTED), String(SEED), kept])
      assert.equal(done.status, 0, `seed ${SEED}: ${done.stderr}`)
      const { mutants, refused } = JSON.parse(done.stdout) as { mutants: number; refused: number }
      assert.ok(mutants >= WANTED && refused > mutants / 2, done.stdout)
      // Where even the metadata is compressed, zstd releases differ in which damaged streams they notice, the kernel's too.
      if (seed === 'zstd') return
      for (const name of readdirSync(kept)) {
        const image = join(kept, name)
        assert.equal(lab.verify(image).status, 0, `${name} was accepted with smaller limits`)
        const compared = lab.compare(image)
        assert.equal(compared.status, 0, `${name}: ${compared.stdout}${compared.stderr}`)
      }
    },
  )
}

/** Writes `value` (little endian) over the image and says what verification then says. */
function damaged(bytes: Buffer, offset: number, value: bigint, length: number): string {
  const copy = Buffer.from(bytes)
  for (let i = 0; i < length; i++) copy[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn)
  const image = lab.path('damaged')
  writeFileSync(image, copy)
  return lab.verify(image).stderr
}

test.needs(missing, 'each superblock field that lies is named', () => {
  const bytes = readFileSync(join(seeds, 'plain'))
  const says = (offset: number, value: bigint, length: number, expected: RegExp): void =>
    assert.match(damaged(bytes, offset, value, length), expected)
  says(0, 0n, 4, /^superblock at byte 0: not a squashfs/)
  says(4, 0n, 4, /^superblock at byte 4: no inodes/)
  says(4, 3n, 4, /^export table at byte \d+|^inode table at byte \d+/)
  says(4, 100_000_000n, 4, /^inodes: 100000000, limit 10000000: File too large/)
  says(12, 4095n, 4, /^superblock at byte 12: block size 4095/)
  says(12, 2n ** 21n, 4, /^superblock at byte 12: block size 2097152/)
  says(20, 9n, 2, /^superblock at byte 20: unknown compressor 9/)
  says(20, 4n, 2, /^compressor xz cannot be checked: Operation not supported/)
  says(22, 13n, 2, /^superblock at byte 22: block size and its logarithm differ/)
  says(24, 0x8000n, 2, /^superblock at byte 24: unknown flags/)
  says(26, 0n, 2, /^superblock at byte 26: no ids/)
  says(28, 3n, 2, /^squashfs version 3\.0, 4\.0 is needed: Operation not supported/)
  says(32, 1n, 8, /^superblock at byte 32: the root is not a directory/)
  says(40, 2n ** 40n, 8, /^superblock at byte 40: the image has 1099511627776 bytes/)
  says(48, 2n ** 63n, 8, /^superblock at byte 48: table position 9223372036854775808 is outside the image/)
  says(64, 100n, 8, /^inode table at byte 100/)
  says(72, 96n, 8, /^superblock at byte 72: the directory table does not follow the inode table/)
})

test.needs(missing, 'a directory with another parent and a shared listing are refused', () => {
  // By hand, in an image whose metadata is stored as it is and whose directories have no xattrs (basic inodes).
  const bytes = readFileSync(join(seeds, 'plain-noexport'))
  const inodeTable = Number(bytes.readBigUInt64LE(64))
  const parents: number[] = []
  for (const at of directoriesOf(bytes, inodeTable)) parents.push(at + 28)
  assert.ok(parents.length >= 4)
  for (const at of parents) {
    const wrong = BigInt(bytes.readUInt32LE(at) + 1)
    assert.match(damaged(bytes, at, wrong, 4), /has another parent/)
  }
  const [first, second] = directoriesOf(bytes, inodeTable).filter((at) => bytes.readUInt16LE(at + 24) > 3)
  assert.ok(first !== undefined && second !== undefined)
  const copy = Buffer.from(bytes)
  copy.copyWithin(first + 16, second + 16, second + 28)
  const image = lab.path('shared')
  writeFileSync(image, copy)
  assert.match(
    lab.verify(image).stderr,
    /shares names with another|has another parent|second name of a directory/,
  )
})

test.needs(missing, 'directories in a circle below no root are refused', () => {
  const bytes = readFileSync(join(seeds, 'plain-noexport'))
  const inodeTable = Number(bytes.readBigUInt64LE(64))
  const inode = (number: number): number => {
    const at = directoriesOf(bytes, inodeTable).find((offset) => bytes.readUInt32LE(offset + 12) === number)
    assert.ok(at !== undefined)
    return at
  }
  const dir = nameOf(bytes, 'dir')
  const deep = nameOf(bytes, 'deep')
  const er = nameOf(bytes, 'er')
  // The names dir and er change places: dir lists deep, deep lists dir, and the root's dir is the empty er.
  const dirAt = inode(dir.number)
  const erAt = inode(er.number)
  const rootNumber = bytes.readUInt32LE(dirAt + 28)
  bytes.writeUInt16LE(erAt - inodeTable - 2, dir.at)
  bytes.writeInt16LE(dir.delta + er.number - dir.number, dir.at + 2)
  bytes.writeUInt16LE(dirAt - inodeTable - 2, er.at)
  bytes.writeInt16LE(er.delta + dir.number - er.number, er.at + 2)
  bytes.writeUInt32LE(rootNumber, erAt + 28)
  bytes.writeUInt32LE(deep.number, dirAt + 28)
  const image = lab.path('circle')
  writeFileSync(image, bytes)
  assert.match(
    lab.verify(image).stderr,
    /^directories below each other, or in a circle: \d+, limit \d+: File too large/,
  )
})

/** The entry of a directory in a directory table of one stored block; its number from the run's header before it. */
function nameOf(bytes: Buffer, name: string): { at: number; delta: number; number: number } {
  const entry = Buffer.concat([Buffer.from([1, 0, name.length - 1, 0]), Buffer.from(name)])
  const table = Number(bytes.readBigUInt64LE(72)) + 2
  const at = bytes.indexOf(entry, table) - 4
  assert.ok(at >= table)
  for (let run = table; ; ) {
    const base = bytes.readUInt32LE(run + 8)
    let next = run + 12
    for (let left = bytes.readUInt32LE(run) + 1; left > 0; left--) {
      const delta = bytes.readInt16LE(next + 2)
      if (next === at) return { at, delta, number: base + delta }
      next += 8 + bytes.readUInt16LE(next + 6) + 1
    }
    run = next
  }
}

/** Offsets of basic directory inodes (type 1) in an image whose inode table is one stored block. */
function directoriesOf(bytes: Buffer, inodeTable: number): number[] {
  const header = bytes.readUInt16LE(inodeTable)
  assert.equal(header & 0x8000, 0x8000)
  const found: number[] = []
  const end = inodeTable + 2 + (header & 0x7fff)
  for (let at = inodeTable + 2; at < end - 32; at++) {
    const type = bytes.readUInt16LE(at)
    const mode = bytes.readUInt16LE(at + 2)
    const number = bytes.readUInt32LE(at + 12)
    if (type === 1 && mode === 0o755 && number > 0 && number < 100 && bytes.readUInt32LE(at + 16) === 0)
      found.push(at)
  }
  return found
}

test.run()
