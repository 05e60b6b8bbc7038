// SPDX-License-Identifier: Apache-2.0
/** Facts of the node, read while packages change under the reader. */
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type * as Facts from '../../../src/launch/host_facts.js'
import type * as Library from '../../../src/launch/library_reader.js'
import type { Native } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { missing } from '../ns/lab.js'

const test = suite('host facts')
const needs = missing()
const built = (name: string) => import(join(import.meta.dirname, '../../../dist/launch', name))

test.needs(
  needs,
  'a reading that failed fails the steps that waited for it, and the next one reads again',
  async () => {
    const { HostReader } = (await built('host_facts.js')) as typeof Facts
    let readings = 0
    const site = { get: () => [], origin: () => 'default' } as never
    const reader = new HostReader(site, async () => {
      readings++
      if (readings === 1) throw Object.assign(new Error('ENOENT: no such directory'), { code: 'ENOENT' })
      return { mpi: [], problems: [] }
    })
    const waiting = [reader.read(), reader.read()]
    for (const one of await Promise.allSettled(waiting)) assert.is(one.status, 'rejected')
    assert.equal((await reader.read()).problems, [])
    assert.equal((await reader.read()).problems, [])
    assert.is(readings, 2, 'what succeeded is kept')
  },
)

test.needs(
  needs,
  'a directory of modules that has just gone is a problem to tell, and ends nothing',
  async () => {
    const { LibraryReader } = (await built('library_reader.js')) as typeof Library
    const reader = new LibraryReader({} as Native, new Set())
    assert.is(await reader.readAll('/nonexistent/openmpi', /^mca_/), undefined)
    assert.equal(reader.problems, ['/nonexistent/openmpi cannot be read (ENOENT)'])
    assert.equal(reader.list('/nonexistent/lib'), [])
  },
)

test.run()
