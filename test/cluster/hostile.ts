// SPDX-License-Identifier: Apache-2.0
/** Layers that a hostile image would hold. None may write outside; most are refused, some are harmless when read as data. */
import type { TarEntry } from './tar.js'

/** Limit that the images test sets for the uncompressed size of an image. */
export const BOMB_BYTES = 256 << 20

interface HostileLayer {
  name: string
  entries: TarEntry[]
  /** 'contained': it may be imported, as long as nothing outside of the image is touched. */
  expectation: 'refused' | 'contained'
}

export const HOSTILE_LAYERS: readonly HostileLayer[] = [
  {
    name: 'parent path',
    entries: [{ name: '../../../../tmp/berth-escaped', content: 'out\n' }],
    expectation: 'contained',
  },
  {
    name: 'absolute path',
    entries: [{ name: '/berth-escaped', content: 'out\n' }],
    expectation: 'contained',
  },
  {
    name: 'write through a symlink',
    entries: [
      { name: 'way', type: '2', link: '/tmp' },
      { name: 'way/berth-escaped', content: 'out\n' },
    ],
    expectation: 'contained',
  },
  {
    name: 'hard link to outside',
    entries: [{ name: 'shadow', type: '1', link: '../../../../etc/shadow' }],
    expectation: 'refused',
  },
  {
    name: 'size beyond the end',
    entries: [{ name: 'huge', content: 'x', claimedSize: 0o77777777777 }],
    expectation: 'refused',
  },
]
