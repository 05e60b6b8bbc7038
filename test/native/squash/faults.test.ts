// SPDX-License-Identifier: Apache-2.0
/** Every write of the engine fails once, in every way: what it says then, and what becomes of the file. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { build } from './workbench.js'

const CALLS = ['pwrite', 'pread', 'copy_file_range', 'fallocate', 'ftruncate', 'fsync']

const test = suite('squash faults')
const needed = process.getuid?.() === 0 ? '' : 'root, to make whiteouts'

test.needs(
  needed,
  'disk full, quota, damage, short and interrupted calls at every write of every writer',
  () => {
    const program = build('native/squash/faults_main.cc', {
      flavour: 'sanitized',
      more: ['native/squash/faults.cc', 'native/squash/fault_cases.cc'],
      link: `-Wl,${CALLS.map((call) => `--wrap=${call}`).join(',')}`,
    })
    const directory = fs.mkdtempSync(join(tmpdir(), 'berth-faults-'))
    try {
      const done = spawnSync(program, [directory], { encoding: 'utf8' })
      assert.is(done.stderr, '')
      const lines = done.stdout.trim().split('\n')
      assert.equal(
        lines.filter((line) => line.startsWith('wrong:')),
        [],
      )
      assert.is(done.status, 0, `signal ${done.signal}: ${done.stdout}`)
      const cases = lines.filter((line) => line.endsWith(' tries'))
      const sum = (call: string) =>
        cases.reduce((all, line) => all + Number(new RegExp(` ${call} (\\d+)`).exec(line)?.[1]), 0)
      assert.is(cases.length, 9)
      for (const call of CALLS) assert.ok(sum(call) > 0, `${call} in ${done.stdout}`)
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  },
)

test.run()
