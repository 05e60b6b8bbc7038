// SPDX-License-Identifier: Apache-2.0
/** Mounted from the shared store, or copied from there: by the site's word, the file system and the image's size. */
import { equal } from 'node:assert/strict'
import { filesystemName, mountsFromThere } from '../../src/store/shared/policy.js'
import { suite } from '../suite.js'

const test = suite('use of the shared store')
const LUSTRE = 0x0bd00bd0
const NFS = 0x6969
const MEGA = 1 << 20

/** f_type of statfs(2), as linux/magic.h and the vendors' headers have it. */
const TYPES: [number, string, boolean][] = [
  [LUSTRE, 'Lustre', true],
  [0x47504653, 'GPFS', true],
  [0x19830326, 'BeeGFS', true],
  [0x00c36400, 'CephFS', true],
  [0x20030528, 'OrangeFS', true],
  [0xaad7aaea, 'PanFS', true],
  [NFS, 'NFS', false],
  [0xff534d42, 'CIFS', false],
  [0xef53, 'type 0xef53', false],
  [0x58465342, 'type 0x58465342', false],
  [0x01021994, 'type 0x1021994', false],
  [0, 'type 0x0', false],
]

test('auto mounts from file systems that many clients read at once, and copies from all others', () => {
  for (const [type, name, mounts] of TYPES) {
    equal(filesystemName(type), name)
    equal(mountsFromThere('auto', type, 10 * MEGA, MEGA), mounts, name)
  }
})

test('images up to shared_copy_size are copied from anywhere; 0: none because of its size', () => {
  equal(mountsFromThere('auto', LUSTRE, MEGA, MEGA), false)
  equal(mountsFromThere('auto', LUSTRE, MEGA + 1, MEGA), true)
  equal(mountsFromThere('auto', LUSTRE, 1, 0), true)
  equal(mountsFromThere('auto', NFS, Infinity, 0), false)
})

test('mount and copy hold whatever file system and size', () => {
  for (const [type] of TYPES)
    for (const size of [1, 10 * MEGA]) {
      equal(mountsFromThere('mount', type, size, MEGA), true)
      equal(mountsFromThere('copy', type, size, MEGA), false)
    }
})

test.run()
