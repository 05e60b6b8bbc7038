// SPDX-License-Identifier: Apache-2.0
/** Sizes beyond 16 and 32 bits: a directory with an index of hundreds of records, a file over 4 GiB. */
import * as assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { suite } from '../../suite.js'
import { buildInspect, hasProgram, Lab, mountMissing, must } from './lab.js'

const test = suite('large squashfs')
const lab = new Lab(buildInspect())
const missing = mountMissing ?? (hasProgram('mksquashfs') ? undefined : 'squashfs-tools')

test.after(() => lab.close())

function makeImage(tree: string): string {
  const image = lab.fresh()
  must('mksquashfs', tree, image, '-noappend', '-quiet', '-no-progress', '-comp', 'zstd')
  return image
}

test.needs(missing, 'a directory of 40,000 names', () => {
  const tree = lab.path('names')
  mkdirSync(tree)
  must('sh', '-c', `cd '${tree}' && seq -f 'name-with-some-length-%06.0f' 1 40000 | xargs touch`)
  const image = makeImage(tree)
  lab.holds(image)
  assert.match(lab.verify(image).stdout, /"entries":40001,/)
})

test.needs(missing, 'a sparse file over 4 GiB', () => {
  const tree = lab.path('sparse')
  mkdirSync(tree)
  writeFileSync(`${tree}/file`, 'start')
  truncateSync(`${tree}/file`, 2 ** 32 + 2 ** 20)
  appendFileSync(`${tree}/file`, 'end')
  const image = makeImage(tree)
  lab.holds(image)
  assert.match(lab.verify(image).stdout, /"bytes":131075,/)
})

test.run()
