// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { fakeRootFilter } from '../../src/launch/fake_root.js'
import { suite } from '../suite.js'

const test = suite('fake root filter')

const ALLOW = 0x7fff0000
const SUCCESS = 0x00050000
const X86_64 = 0xc000003e
const I386 = 0x40000003
const AARCH64 = 0xc00000b7

/** Runs the classic BPF program as the kernel would, on one struct seccomp_data. */
function judge(arch: number, nr: number, args: number[] = []): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(nr >>> 0, 0)
  data.writeUInt32LE(arch, 4)
  args.forEach((value, index) => {
    data.writeUInt32LE(value, 16 + index * 8)
  })
  const program = Buffer.from(fakeRootFilter())
  let accumulator = 0
  for (let at = 0; at < program.length / 8; at++) {
    const code = program.readUInt16LE(at * 8)
    const value = program.readUInt32LE(at * 8 + 4)
    if (code === 0x20) accumulator = data.readUInt32LE(value)
    else if (code === 0x54) accumulator = (accumulator & value) >>> 0
    else if (code === 0x06) return value
    else at += program.readUInt8(at * 8 + (accumulator === value ? 2 : 3))
  }
  throw new Error('fell off the program')
}

test('changes of owner and identity succeed without running, on every ABI', () => {
  assert.is(judge(X86_64, 92), SUCCESS)
  assert.is(judge(X86_64, 260), SUCCESS)
  assert.is(judge(X86_64, 116), SUCCESS)
  assert.is(judge(X86_64, 92 | 0x40000000), SUCCESS, 'x32')
  assert.is(judge(I386, 182), SUCCESS)
  assert.is(judge(I386, 206), SUCCESS)
  assert.is(judge(AARCH64, 55), SUCCESS)
})

test('extended attributes are the kernel’s to answer for', () => {
  // setxattr lsetxattr fsetxattr removexattr
  for (const nr of [188, 189, 190, 197]) assert.is(judge(X86_64, nr), ALLOW)
})

/** Where Debian's linux-libc-dev has the kernel's own numbers. */
const INCLUDE = '/usr/include'
const HEADERS = [
  { arch: X86_64, file: `${INCLUDE}/x86_64-linux-gnu/asm/unistd_64.h`, count: 13 },
  { arch: I386, file: `${INCLUDE}/x86_64-linux-gnu/asm/unistd_32.h`, count: 25 },
  { arch: AARCH64, file: `${INCLUDE}/asm-generic/unistd.h`, count: 11 },
]
const FAKED =
  /^#define __NR(?:3264)?_((?:[fl]?chown|fchownat|set(?:fs|re|res)?[ug]id|setgroups)(?:32)?)\s+(\d+)/gm

for (const { arch, file, count } of HEADERS)
  test.needs(
    existsSync(file) ? undefined : `no ${file}`,
    `all calls of their kind, as ${file} has them`,
    () => {
      const calls = [...readFileSync(file, 'utf8').matchAll(FAKED)].filter(([, name]) => name !== 'set_id')
      assert.is(calls.length, count, calls.map(([, name]) => name).join(' '))
      for (const [, name, number] of calls) assert.is(judge(arch, Number(number)), SUCCESS, name ?? '')
    },
  )

test('other calls run', () => {
  for (const nr of [0, 1, 59, 101, 165]) assert.is(judge(X86_64, nr), ALLOW)
  assert.is(judge(I386, 11), ALLOW)
  assert.is(judge(0x12345, 92), ALLOW, 'unknown architecture')
})

test('device nodes are pretended, fifos and files are made', () => {
  assert.is(judge(X86_64, 133, [0, 0o020666]), SUCCESS)
  assert.is(judge(X86_64, 259, [0, 0, 0o060660]), SUCCESS)
  assert.is(judge(X86_64, 133, [0, 0o010644]), ALLOW)
  assert.is(judge(X86_64, 259, [0, 0, 0o100644]), ALLOW)
  assert.is(judge(AARCH64, 33, [0, 0, 0o020666]), SUCCESS)
})

test('the program fits the kernel limit and every jump stays inside', () => {
  const program = Buffer.from(fakeRootFilter())
  assert.ok(program.length / 8 <= 4096)
  for (let at = 0; at < program.length / 8; at++) {
    if (program.readUInt16LE(at * 8) !== 0x15) continue
    for (const side of [2, 3])
      assert.ok(at + 1 + program.readUInt8(at * 8 + side) < program.length / 8, `jump at ${at}`)
  }
})

test.run()
