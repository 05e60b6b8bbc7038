// SPDX-License-Identifier: Apache-2.0
/** Small stacks of layers of every kind, lowest first: what the seeds of fuzzers are made of. */
import {
  dir,
  file,
  hardlink,
  opaque,
  padded,
  symlink,
  type TarEntry,
  whiteout,
} from '../native/squash/tar_writer.js'

const oldSparse = (header: Buffer): void => {
  header.write('00000002000\0\x3000000000003\0', 386, 'latin1')
  header.write('00000010000\0', 483, 'latin1')
}

export const STACKS: Record<string, TarEntry[][]> = {
  plain: [[dir('d'), file('d/a', 'x'.repeat(5000)), file('a', 'small'), symlink('l', 'd'), file('l/b')]],
  links: [
    [file('low', 'data'), hardlink('a', 'low')],
    [hardlink('up', 'low'), whiteout('', 'low')],
  ],
  hidden: [[file('c', 'x'.repeat(9000)), hardlink('a', 'c')], [whiteout('', 'c')]],
  whiteouts: [
    [dir('d'), file('d/a')],
    [dir('d'), opaque('d/'), file('d/b')],
    [whiteout('d/', 'b'), file('d', 'f')],
  ],
  replaced: [
    [dir('d'), file('d/l')],
    [symlink('d', 'e'), file('e/x')],
    [dir('d'), file('d/y'), file('d', 'z')],
  ],
  devices: [[{ name: 'n', type: '3', device: [1, 3] }, { name: 'p', type: '6' }, hardlink('n2', 'n')]],
  attributes: [
    [file('a', 'a', { uid: 2 ** 31, pax: { 'SCHILY.xattr.user.k': 'v', path: 'd/l', mtime: '5.5' } })],
  ],
  holes: [
    [
      file('a', padded(Buffer.from('2\n0\n3\n9000\n4\n')), {
        pax: { 'GNU.sparse.major': '1', 'GNU.sparse.name': 'h', 'GNU.sparse.realsize': '20000' },
      }),
    ],
    [file('b', 'abcd', { pax: { 'GNU.sparse.map': '5,4', 'GNU.sparse.size': '9000' } })],
    [file('c', 'abc', { type: 'S', patch: oldSparse })],
  ],
  long: [
    [
      file('././@LongLink', 'n'.repeat(200), { type: 'L' }),
      file('n'),
      file('x', 'y', { type: 'K' }),
      symlink('s', 't'),
    ],
  ],
  same: [
    [
      file('a', 'y'.repeat(9000)),
      file('b', 'y'.repeat(9000)),
      file('c', `${'y'.repeat(8999)}z`),
      file('d', 'q'),
      file('e', 'q'),
    ],
  ],
}
