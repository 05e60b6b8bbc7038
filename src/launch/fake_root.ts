// SPDX-License-Identifier: Apache-2.0
/**
 * The fake-root seccomp filter: in a user namespace that maps one id, changes of ownership and identity cannot
 * succeed, but package managers insist on them. The filter answers 0 in the kernel's place (SECCOMP_RET_ERRNO with
 * errno 0, seccomp(2)), without running the call. Everything else is allowed, so it protects nothing and is no policy.
 */

/** AUDIT_ARCH_* of linux/audit.h. */
const ARCH = { x86_64: 0xc000003e, i386: 0x40000003, aarch64: 0xc00000b7, arm: 0x40000028 } as const
type Arch = keyof typeof ARCH

/** x32 calls carry this bit above x86_64's numbers (asm/unistd.h). */
const X32_BIT = 0x40000000

/** Calls answered with success: chown family, set*id family, setgroups; numbers from each arch's unistd.h. */
const FAKED: Record<Arch, readonly number[]> = {
  // chown fchown lchown fchownat setuid setgid setreuid setregid setgroups setresuid setresgid setfsuid setfsgid
  x86_64: [92, 93, 94, 260, 105, 106, 113, 114, 116, 117, 119, 122, 123],
  // … and the 16-bit forms beside the 32-bit ones
  i386: [
    182, 95, 16, 298, 23, 46, 70, 71, 81, 164, 170, 138, 139, 212, 207, 198, 213, 214, 203, 204, 206, 208,
    210, 215, 216,
  ],
  aarch64: [54, 55, 146, 144, 145, 143, 159, 147, 149, 151, 152],
  arm: [
    182, 95, 16, 325, 23, 46, 70, 71, 81, 164, 170, 138, 139, 212, 207, 198, 213, 214, 203, 204, 206, 208,
    210, 215, 216,
  ],
}

/** Device nodes cannot be made in a user namespace; other kinds can. [number, index of the mode argument]. */
const MAKE_NODE: Record<Arch, readonly (readonly [number, number])[]> = {
  x86_64: [
    [133, 1],
    [259, 2],
  ],
  i386: [
    [14, 1],
    [297, 2],
  ],
  aarch64: [[33, 2]],
  arm: [
    [14, 1],
    [324, 2],
  ],
}

const S_IFMT = 0o170000
const S_IFCHR = 0o020000
const S_IFBLK = 0o060000

/** struct seccomp_data: nr at 0, arch at 4, args[] (u64, little-endian here) from 16. */
const OFFSET = { nr: 0, arch: 4, args: 16 } as const

/** Opcodes of linux/bpf_common.h, as used by classic BPF. */
const LOAD = 0x20
const AND = 0x54
const JUMP_EQUAL = 0x15
const RETURN = 0x06
const RET_ALLOW = 0x7fff0000
const RET_SUCCESS = 0x00050000

interface Instruction {
  code: number
  whenTrue: number
  whenFalse: number
  value: number
}

const make = (code: number, value: number, whenTrue = 0, whenFalse = 0): Instruction => ({
  code,
  whenTrue,
  whenFalse,
  value,
})

/**
 * The filter as a `struct sock_filter` array for PR_SET_SECCOMP/seccomp(2); needs no_new_privs or CAP_SYS_ADMIN in
 * the user namespace. Install with SECCOMP_FILTER_FLAG_SPEC_ALLOW: it guards no secret, so speculation may stay on.
 */
export function fakeRootFilter(): Uint8Array {
  const program: Instruction[] = [make(LOAD, OFFSET.arch)]
  for (const arch of Object.keys(ARCH) as Arch[]) {
    const body = archBody(arch)
    program.push(make(JUMP_EQUAL, ARCH[arch], 0, body.length), ...body)
  }
  program.push(make(RETURN, RET_ALLOW))
  return assemble(program)
}

/** Straight-line code of one architecture; ends in RETURN on every path, so bodies need no jumps to each other. */
function archBody(arch: Arch): Instruction[] {
  const body = [make(LOAD, OFFSET.nr)]
  if (arch === 'x86_64') body.push(make(AND, ~X32_BIT >>> 0))
  for (const number of FAKED[arch]) body.push(make(JUMP_EQUAL, number, 0, 1), make(RETURN, RET_SUCCESS))
  for (const [number, argument] of MAKE_NODE[arch]) {
    const whenDevice = [
      make(LOAD, OFFSET.args + 8 * argument),
      make(AND, S_IFMT),
      make(JUMP_EQUAL, S_IFCHR, 1, 0),
      make(JUMP_EQUAL, S_IFBLK, 0, 1),
      make(RETURN, RET_SUCCESS),
      make(RETURN, RET_ALLOW),
    ]
    body.push(make(JUMP_EQUAL, number, 0, whenDevice.length), ...whenDevice)
  }
  body.push(make(RETURN, RET_ALLOW))
  return body
}

function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * 8)
  program.forEach((instruction, index) => {
    bytes.writeUInt16LE(instruction.code, index * 8)
    bytes.writeUInt8(instruction.whenTrue, index * 8 + 2)
    bytes.writeUInt8(instruction.whenFalse, index * 8 + 3)
    bytes.writeUInt32LE(instruction.value >>> 0, index * 8 + 4)
  })
  return bytes
}
