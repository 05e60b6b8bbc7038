// SPDX-License-Identifier: Apache-2.0
/** Named containers on a disk that errs for a while: nobody's container gives way to a new one. */
import fs, { existsSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { messageOf } from '../../src/report/errors.js'
import { Containers } from '../../src/store/containers.js'
import { suite } from '../suite.js'

const test = suite('store: containers')
const ID = { uid: 1000, scope: 'global', name: 'x' }
const FACTS = { creator: 'ab', image: { key: 'sha256-1-f1', reference: 'docker.io/library/x:1' } }
const native = { removeTree: async () => undefined, treeSize: async () => 0 }

function withFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'berth-containers-'))
  try {
    body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Every look at it fails until the answer is called: it leads to itself. */
function spoil(path: string): () => void {
  renameSync(path, `${path}.kept`)
  symlinkSync(path, path)
  return () => renameSync(`${path}.kept`, path)
}

function problemOf(find: () => unknown): string {
  try {
    find()
    return ''
  } catch (error) {
    return messageOf(error)
  }
}

for (const when of ['when the worker starts', 'while it runs'])
  test(`a record that the disk does not give ${when} is told; the container is there when it does`, () =>
    withFolder((folder) => {
      const lines: string[] = []
      const open = () => new Containers(folder, native, (line) => lines.push(line))
      const early = open()
      const made = early.create(ID, FACTS)
      const mend = spoil(join(made.path, 'container.json'))
      const containers = when === 'while it runs' ? early : open()
      for (const _ of [1, 2])
        assert.match(
          problemOf(() => containers.find(ID)),
          /^the store .* cannot be used: ELOOP/,
        )
      mend()
      assert.equal(containers.find(ID), made)
      assert.equal(containers.list(), [made])
      assert.not(existsSync(join(folder, 'containers/.unreadable')))
      assert.is(lines.length, when === 'while it runs' ? 0 : 1)
      assert.equal(containers.find({ ...ID, name: 'other' }), undefined)
    }))

test('while a record cannot be read, any image may be the one below; then only its own is', () =>
  withFolder((folder) => {
    const made = new Containers(folder, native).create(ID, FACTS)
    const mend = spoil(join(made.path, 'container.json'))
    const containers = new Containers(folder, native)
    const needed = () => [FACTS.image.key, 'sha256-2-f1'].map((key) => containers.need(key))
    assert.equal(needed(), [true, true])
    assert.equal(containers.unreadable(), [ID])
    mend()
    assert.equal(needed(), [true, false])
    assert.equal(containers.unreadable(), [])
    rmSync(made.path, { recursive: true })
    assert.equal(containers.find(ID), undefined)
    assert.equal(needed(), [false, false])
  }))

test('an unreadable container that somebody has removed keeps no image', () =>
  withFolder((folder) => {
    const made = new Containers(folder, native).create(ID, FACTS)
    spoil(join(made.path, 'container.json'))
    const containers = new Containers(folder, native)
    rmSync(made.path, { recursive: true })
    assert.not(containers.need(FACTS.image.key))
  }))

test('a record is on the disk before its container has a name, so that no power loss empties it', () =>
  withFolder((folder) => {
    const containers = new Containers(folder, native)
    const synced: string[] = []
    const { fsyncSync } = fs
    fs.fsyncSync = (fd) => {
      synced.push(
        `${fs.readlinkSync(`/proc/self/fd/${fd}`)}: ${fs.readFileSync(`/proc/self/fd/${fd}`, 'utf8')}`,
      )
      fsyncSync(fd)
    }
    syncBuiltinESMExports()
    try {
      containers.create(ID, FACTS)
    } finally {
      fs.fsyncSync = fsyncSync
      syncBuiltinESMExports()
    }
    assert.is(synced.length, 1)
    assert.match(synced[0] ?? '', /\/\.new\/[0-9a-f]+\/container\.json: \{.*"key":"sha256-1-f1".*\}$/)
  }))

test.run()
