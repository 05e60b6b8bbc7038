// SPDX-License-Identifier: Apache-2.0
/** Images of every tool and option pass verification, and the reader sees in them what the kernel sees. */
import * as assert from 'node:assert/strict'
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { buildInspect, hasProgram, Lab, mountMissing, must } from './lab.js'

const test = suite('squashfs reader')
const lab = new Lab(buildInspect())
const tree = lab.path('tree')
const missing = mountMissing ?? (hasProgram('mksquashfs') ? undefined : 'squashfs-tools')
const missingNg = missing ?? (hasProgram('gensquashfs') ? undefined : 'squashfs-tools-ng')
if (missing === undefined) must('sh', join(import.meta.dirname, 'tree.sh'), tree)

test.after(() => lab.close())

function makeImage(...options: string[]): string {
  const image = lab.fresh()
  must('mksquashfs', tree, image, '-noappend', '-quiet', '-no-progress', ...options)
  return image
}

/** With a flag that says what is in the image, not how well it is compressed: a sixth of the time of zstd's default. */
function quickly(flag: string): string {
  return `-comp zstd -Xcompression-level 1 ${flag}`
}

for (const options of [
  '-comp gzip',
  '-comp lz4',
  '-comp lz4 -Xhc',
  '-comp lzo',
  '-comp lzo -Xalgorithm lzo1x_1 -b 1048576',
  // As enroot makes its images.
  '-comp lzo -noD -all-root',
  '-comp zstd -Xcompression-level 1',
  ...['-noI', '-noD', '-noF', '-noX', '-noId', '-noI -noD -noF -noX -noId'].map(quickly),
  ...['-no-fragments', '-always-use-fragments', '-no-duplicates', '-no-sparse', '-no-tailends', '-nopad'].map(
    quickly,
  ),
  ...['-no-xattrs', '-all-root', '-no-exports', '-no-hardlinks'].map(quickly),
  ...[4096, 8192, 16384, 32768, 65536, 262144, 524288, 1048576].map((size) => quickly(`-b ${size}`)),
  ...[4096, 65536, 1048576].map((size) => `-comp gzip -always-use-fragments -b ${size}`),
]) {
  test.needs(missing, `mksquashfs ${options}`, () => lab.holds(makeImage(...options.split(' '))))
}

for (const compressor of ['gzip', 'lz4', 'zstd']) {
  for (const options of [[], ['-b', '4096', '-e']]) {
    const label = [compressor, ...options].join(' ')
    test.needs(missingNg, `gensquashfs ${label}`, () => {
      const image = lab.fresh()
      must('gensquashfs', '-q', '-f', '-D', tree, '-k', '-x', '-o', '-c', compressor, ...options, image)
      lab.holds(image)
    })
    test.needs(missingNg, `tar2sqfs ${label}`, () => {
      const image = lab.fresh()
      const words = ['tar2sqfs', '-q', '-f', '-c', compressor, ...options, image].join(' ')
      must('sh', '-c', `tar --xattrs --xattrs-include='*' -C '${tree}' -c . 2>/dev/null | ${words}`)
      lab.holds(image)
    })
  }
}

test.needs(missing, 'an image that was appended to twice', () => {
  const image = makeImage('-comp', 'zstd')
  const more = lab.path('more')
  mkdirSync(join(more, 'sub'), { recursive: true })
  writeFileSync(join(more, 'sub/file'), 'more')
  must('mksquashfs', more, image, '-quiet', '-no-progress')
  must('mksquashfs', more, image, '-quiet', '-no-progress', '-root-becomes', 'old')
  lab.holds(image)
})

test.needs(missing, 'an empty directory', () => {
  const image = lab.fresh()
  mkdirSync(lab.path('nothing'), { recursive: true })
  must('mksquashfs', lab.path('nothing'), image, '-noappend', '-quiet', '-no-progress')
  lab.holds(image)
})

test.needs(missing, 'xz is reported as not checkable', () => {
  const verified = lab.verify(makeImage('-comp', 'xz'))
  assert.equal(verified.status, 1)
  assert.equal(verified.stderr, 'compressor xz cannot be checked: Operation not supported\n')
})

test.needs(missing, 'files are found by path, links followed inside the image only', () => {
  const image = makeImage('-comp', 'zstd')
  assert.equal(lab.cat(image, 'small').stdout, 'small\n')
  assert.equal(lab.cat(image, '/link').stdout, 'small\n')
  assert.equal(lab.cat(image, 'absolute').stdout, 'root:x:0:0:root:/root:/bin/sh\n')
  assert.equal(lab.cat(image, 'many/upwards').stdout, 'small\n')
  assert.equal(lab.cat(image, 'back/back/./many/../link').stdout, 'small\n')
  assert.match(lab.cat(image, 'loop-a').stderr, /loop-a: Too many levels of symbolic links/)
  assert.match(lab.cat(image, 'small/x').stderr, /small\/x: Not a directory/)
  assert.match(lab.cat(image, 'nowhere').stderr, /nowhere: No such file or directory/)
  assert.match(lab.list(image, '/').stdout, /^c +\d+ character$/m)
})

test.needs(missing, 'an image cut short, another file and a directory are refused with the reason', () => {
  const image = makeImage('-comp', 'zstd', '-nopad')
  truncateSync(image, statSync(image).size - 1)
  assert.match(lab.verify(image).stderr, /^superblock at byte 40: the image has \d+ bytes, its file \d+/)
  assert.match(
    lab.verify(import.meta.filename).stderr,
    /^superblock at byte 0: not a squashfs: Structure needs cleaning/,
  )
  assert.match(lab.verify('/dev/null').stderr, /^the image is not a regular file/)
})

test.run()
