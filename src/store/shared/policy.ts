// SPDX-License-Identifier: Apache-2.0
/** Mounted from the shared store, or copied from there; pure. Measured in docs/decisions/0017-shared-store.md. */

export type ShareUse = 'auto' | 'mount' | 'copy'

/**
 * f_type of statfs(2) of file systems that many clients read at once. Elsewhere a copy is made: one NFS server answers
 * all the small reads of all nodes, and a file removed there is lost to who has it open (ESTALE).
 */
const PARALLEL: ReadonlyMap<number, string> = new Map([
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x19830326, 'BeeGFS'],
  [0x00c36400, 'CephFS'],
  [0x20030528, 'OrangeFS'],
  [0xaad7aaea, 'PanFS'],
])
const OTHERS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
])

export function filesystemName(type: number): string {
  return PARALLEL.get(type) ?? OTHERS.get(type) ?? `type 0x${type.toString(16)}`
}

/** @param copySize bytes up to which an image is always copied: a copy is read once, and the server is then done with it */
export function mountsFromThere(use: ShareUse, filesystem: number, size: number, copySize: number): boolean {
  if (use !== 'auto') return use === 'mount'
  return PARALLEL.has(filesystem) && size > copySize
}
