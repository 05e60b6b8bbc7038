// SPDX-License-Identifier: Apache-2.0
import { equal } from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lease, Leases } from '../../src/worker/leases.js'
import { suite } from '../suite.js'

const test = suite('leases')
const dir = mkdtempSync(join(tmpdir(), 'berth-leases-'))
const leases = new Leases(dir)
const handle = '0123456789abcdef0123456789abcdef'

function lease(): Lease {
  return {
    version: 1,
    facts: {
      handle,
      context: 'step',
      ...{
        job: 1,
        step: 0,
        restart: 0,
        uid: 1000,
        gid: 1000,
        gids: [],
        node: 0,
        localTasks: 1,
        totalTasks: 1,
      },
      ...{ options: ['container-image=x'], env: { SLURM_JOB_ID: '1' }, cwd: '/' },
    },
    owner: { pid: 7, start: 99 },
    tasks: [],
  }
}

test.after(() => rmSync(dir, { recursive: true }))

test('a written lease is read back, for root only', () => {
  leases.write(lease())
  equal(JSON.stringify(leases.readAll().leases), JSON.stringify([lease()]))
  equal(statSync(join(dir, 'steps', `${handle}.json`)).mode & 0o777, 0o600)
  equal(statSync(join(dir, 'steps')).mode & 0o777, 0o700)
})

test('a removed lease is gone, removing it again is no error', () => {
  leases.remove(handle)
  leases.remove(handle)
  equal(leases.readAll().leases.length, 0)
})

test('what is cut off, strange or of another version is named and removed', () => {
  const steps = join(dir, 'steps')
  writeFileSync(join(steps, `${handle}.json`), JSON.stringify(lease()).slice(0, -5))
  writeFileSync(join(steps, `${handle}.json.new`), '{}')
  writeFileSync(join(steps, `${'f'.repeat(32)}.json`), JSON.stringify({ ...lease(), version: 2 }))
  equal(leases.readAll().broken.length, 3)
  equal(readdirSync(steps).length, 0)
})

test('a lease under another name than its own is not believed', () => {
  writeFileSync(join(dir, 'steps', `${'a'.repeat(32)}.json`), JSON.stringify(lease()))
  equal(leases.readAll().leases.length, 0)
})

test('one that cannot be removed is a line in the log, at its end and at the next start', () => {
  const lines: string[] = []
  const stubborn = new Leases(dir, (line) => lines.push(line))
  const path = join(dir, 'steps', `${handle}.json`)
  mkdirSync(path)
  stubborn.remove(handle)
  equal(stubborn.readAll().broken.join(), `${handle}.json`)
  equal(lines.length, 2)
  equal(lines[0]?.startsWith(`cannot remove ${path}: `), true, lines[0])
  rmdirSync(path)
})

test.run()
