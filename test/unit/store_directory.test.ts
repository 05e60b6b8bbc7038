// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { Directory } from '../../src/store/directory.js'
import { parseRecord, type StoreRecord } from '../../src/store/record.js'
import { Shelf } from '../../src/store/shelf.js'
import { suite } from '../suite.js'

const test = suite('store: directory')
const NO_LIMITS = { quota: 0, floor: 0 }

function withFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'berth-store-'))
  try {
    body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function record(folder: string, hex: string, size = 4): StoreRecord {
  const key = `sha256-${hex.repeat(64)}-f1`
  const path = join(folder, 'images', `${key}.sqsh`)
  mkdirSync(join(folder, 'images'), { recursive: true })
  writeFileSync(path, Buffer.alloc(size))
  return {
    key,
    path,
    digest: `sha256:${hex.repeat(64)}`,
    size,
    entries: 1,
    config: {
      env: ['A=b'],
      entrypoint: [],
      cmd: ['x'],
      workdir: '/',
      user: '',
      labels: { l: '1' },
      architecture: 'amd64',
    },
    passwd: 'root:x:0:0::/:/bin/sh\n',
    group: '',
    layers: [{ digest: `sha256:${hex.repeat(64)}`, diffId: `sha256:${hex.repeat(64)}`, size: 1 }],
    created: 5,
    aliases: [],
    references: [],
    places: [],
    open: true,
    owners: [1000],
    pinned: false,
    importers: [1000],
    reused: 0,
  }
}

test('what was added is there after a restart, with its last use', () =>
  withFolder((folder) => {
    const shelf = new Shelf(folder, NO_LIMITS, () => false)
    const one = record(folder, 'a')
    shelf.add(one)
    shelf.use(one, { digest: `sha256:${'9'.repeat(64)}`, reference: 'docker.io/library/x:1' })
    const again = new Shelf(folder, NO_LIMITS, () => false)
    const found = again.byDigest(`sha256:${'9'.repeat(64)}`)
    assert.equal(found, {
      ...one,
      aliases: [`sha256:${'9'.repeat(64)}`],
      references: ['docker.io/library/x:1'],
    })
    assert.is(again.byDigest(`sha256:${'0'.repeat(64)}`), undefined)
    assert.is(statSync(folder).mode & 0o077, 0)
  }))

test('leftovers of a crash are gone after opening: temporary files, images without json and json without image', () =>
  withFolder((folder) => {
    const shelf = new Shelf(folder, NO_LIMITS, () => false)
    const [whole, bare, short, broken] = ['a', 'b', 'c', 'd'].map((hex) => record(folder, hex)) as [
      StoreRecord,
      StoreRecord,
      StoreRecord,
      StoreRecord,
    ]
    for (const one of [whole, short, broken]) shelf.add(one)
    writeFileSync(short.path, 'x')
    writeFileSync(broken.path.replace('.sqsh', '.json'), '{"size":')
    writeFileSync(join(folder, 'images', `sha256-${'e'.repeat(64)}-f1.json`), '{}')
    writeFileSync(join(folder, 'tmp', 'half'), 'x')
    const again = new Shelf(folder, NO_LIMITS, () => false)
    assert.equal(
      again.records().map(({ key }) => key),
      [whole.key],
    )
    assert.equal(readdirSync(join(folder, 'tmp')), [])
    assert.equal(readdirSync(join(folder, 'images')).sort(), [`${whole.key}.json`, `${whole.key}.sqsh`])
    assert.not(existsSync(bare.path))
  }))

test('a record of another shape is not believed', () =>
  withFolder((folder) => {
    const one = record(folder, 'a')
    const json = JSON.stringify(one)
    assert.equal(parseRecord(json, one.key, one.path), one)
    for (const change of [
      { size: -1 },
      { config: null },
      { layers: [1] },
      { digest: 5 },
      { owners: ['x'] },
    ]) {
      assert.throws(() => parseRecord(JSON.stringify({ ...one, ...change }), one.key, one.path), /malformed/)
    }
    for (const text of ['', 'null', '[]', '5']) assert.throws(() => parseRecord(text, one.key, one.path))
  }))

test('collecting keeps to quota, spares what is leased, pinned, lends layers or was just handed out', () =>
  withFolder((folder) => {
    const leased = new Set<string>()
    const shelf = new Shelf(folder, { quota: 10, floor: 0 }, (key) => leased.has(key))
    const images = ['a', 'b', 'c', 'd'].map((hex) => record(folder, hex))
    for (const one of images) shelf.add(one)
    assert.equal(shelf.collect(0), [], 'all are fresh')
    const later = Date.now() + 120_000
    const now = Date.now
    Date.now = () => later
    try {
      leased.add(images[0]?.key ?? '')
      shelf.note(images[1]?.key ?? '', { pinned: true })
      const giveBack = shelf.hold(images.map(({ key }) => key))
      assert.equal(shelf.collect(0), [], 'all lend')
      giveBack()
      assert.equal(
        shelf
          .collect(0)
          .map(({ key }) => key)
          .sort(),
        [images[2]?.key, images[3]?.key],
      )
    } finally {
      Date.now = now
    }
    assert.not(existsSync(images[2]?.path ?? ''))
    assert.match(readFileSync(join(folder, 'images', `${images[1]?.key}.json`), 'utf8'), '"pinned":true')
  }))

test('room for a step counts until it is given back; images go for it, but for none that cannot be had', () =>
  withFolder((folder) => {
    const shelf = new Shelf(folder, { quota: 10, floor: 0 }, () => false)
    const [pinned, other] = ['a', 'b'].map((hex) => record(folder, hex)) as [StoreRecord, StoreRecord]
    for (const one of [pinned, other]) shelf.add(one)
    shelf.note(pinned.key, { pinned: true })
    assert.is(shelf.reserve(3), undefined, 'all are fresh')
    const later = Date.now() + 120_000
    const now = Date.now
    Date.now = () => later
    try {
      assert.is(shelf.reserve(7), undefined)
      assert.ok(existsSync(other.path), 'it would not have been enough')
      const first = shelf.reserve(3)
      assert.not(existsSync(other.path))
      assert.is(shelf.reserve(4), undefined)
      first?.()
      assert.type(shelf.reserve(4), 'function')
    } finally {
      Date.now = now
    }
    const full = new Shelf(folder, { quota: 0, floor: Number.MAX_SAFE_INTEGER }, () => false)
    assert.is(full.reserve(1), undefined, 'the floor holds too')
  }))

test('a clock that was ahead and is set back keeps no image from being collected', () =>
  withFolder((folder) => {
    const now = Date.now
    const make = () => new Shelf(folder, { quota: 1, floor: 0 }, () => false)
    const images = ['a', 'b'].map((hex) => record(folder, hex))
    Date.now = () => now() + 1_000_000_000
    const shelf = make()
    try {
      for (const one of images) shelf.add(one)
    } finally {
      Date.now = now
    }
    assert.is(
      make()
        .records()
        .filter(({ used }) => used > Date.now()).length,
      0,
    )
    assert.is(shelf.collect(0).length, 2)
  }))

test('an image whose file somebody has removed is forgotten, with what is known of it', () =>
  withFolder((folder) => {
    const forgotten: string[] = []
    const shelf = new Shelf(
      folder,
      { quota: 0, floor: 0 },
      () => false,
      [''],
      (key) => forgotten.push(key),
    )
    const [one, other] = [record(folder, 'a'), record(folder, 'b')]
    shelf.add(one)
    shelf.add(other)
    rmSync(one.path)
    rmSync(other.path)
    assert.is(shelf.byDigest(one.digest), undefined)
    assert.is(shelf.byKey(other.key), undefined)
    assert.equal(forgotten, [one.key, other.key])
    assert.equal(shelf.records(), [])
    assert.equal(readdirSync(join(folder, 'images')), [])
  }))

/** Every look at it fails until the answer is called: it leads to itself. */
function spoil(path: string): () => void {
  renameSync(path, `${path}.kept`)
  symlinkSync(path, path)
  return () => renameSync(`${path}.kept`, path)
}

test('a record that the disk does not give costs its image nothing, and is found when it does', () =>
  withFolder((folder) => {
    const before = new Shelf(folder, NO_LIMITS, () => false)
    const one = record(folder, 'a')
    before.add(one)
    const json = one.path.replace('.sqsh', '.json')
    const mend = spoil(json)
    const lines: string[] = []
    const again = new Shelf(
      folder,
      NO_LIMITS,
      () => false,
      [''],
      () => {},
      (line) => lines.push(line),
    )
    assert.is(again.byDigest(one.digest), undefined)
    assert.is(again.byKey(one.key), undefined)
    assert.is(lines.length, 1)
    assert.match(lines[0] ?? '', `image ${one.key} is not used: ELOOP`)
    assert.ok(existsSync(one.path))
    mend()
    assert.equal(again.byDigest(one.digest), one)
    assert.equal(
      again.records().map(({ key }) => key),
      [one.key],
    )
  }))

test('an image whose file the disk does not show now is not forgotten', () =>
  withFolder((folder) => {
    const shelf = new Shelf(folder, NO_LIMITS, () => false)
    const one = record(folder, 'a')
    shelf.add(one)
    const mend = spoil(one.path)
    assert.is(shelf.byKey(one.key), one)
    mend()
    assert.equal(readdirSync(join(folder, 'images')).sort(), [`${one.key}.json`, `${one.key}.sqsh`])
  }))

test('what came to light while nothing could be written is written with the next use', () =>
  withFolder((folder) => {
    const shelf = new Shelf(folder, NO_LIMITS, () => false)
    const one = record(folder, 'a')
    shelf.add(one)
    const obstacle = join(folder, 'tmp', `${one.key}.json`)
    mkdirSync(obstacle)
    shelf.use(one, { place: 'docker.io/library/x' })
    rmdirSync(obstacle)
    shelf.use(one, { place: 'docker.io/library/x' })
    const [found] = new Shelf(folder, NO_LIMITS, () => false).records()
    assert.equal(found?.places, ['docker.io/library/x'])
  }))

test('a store into which others could put images is refused, with the command to mend it', () => {
  for (const part of ['', 'images', 'tmp'])
    withFolder((folder) => {
      const bad = join(folder, part)
      new Directory(folder).open()
      chmodSync(bad, 0o770)
      const words = `others than root can change ${bad}: chown root ${bad}; chmod go-w ${bad}`
      assert.throws(
        () => new Directory(folder).open(),
        (error: Error) => error.message === words,
      )
      chmodSync(bad, 0o755)
      new Directory(folder).open()
    })
})

test.run()
