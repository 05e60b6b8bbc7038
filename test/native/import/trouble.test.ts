// SPDX-License-Identifier: Apache-2.0
/** What goes wrong on the way into the store, and that nothing of it stays behind. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { parseReference } from '../../../src/image/reference.js'
import type { Store } from '../../../src/store/store.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, importers, Lab, listImage, missing, pull, until } from './fixture.js'

const test = suite('store: trouble')
const needed = missing()
const BIG = makeTar([{ name: 'noise', content: randomBytes(3_000_000) }])

let lab: Lab
let store: Store
let fake: FakeRegistry

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  store = await lab.open()
  fake = await FakeRegistry.start()
})

test.after(async () => {
  if (needed !== undefined) return
  await fake.stop()
  assert.equal(lab.leftovers(), [])
  await lab.close()
  assert.equal(importers(), [])
})

test.needs(
  needed,
  'a Node.js that lies where the importer may not go is named, with the account',
  async () => {
    const dist = lab.publicFolder('dist')
    const hidden = join(lab.folder, 'nvm')
    mkdirSync(hidden, { mode: 0o700 })
    symlinkSync(process.execPath, join(hidden, 'node'))
    symlinkSync(join(hidden, 'node'), join(dist, 'node'))
    fake.putImage([BIG])
    const other = await lab.open({ distDir: dist, directory: join(lab.folder, 'other') })
    const error = await failure(pull(other, `${fake.host}/big`, ALICE))
    assert.is(error.code, 'BERTH_EIMPORTER')
    assert.match(
      error.message,
      /the importer cannot start: user \d+ must be able to run .*\/dist\/node \(EACCES\)$/,
    )
  },
)

/** Sends half of the large blob, then nothing more. */
function stall(): () => void {
  const handler = (request: { url?: string | undefined }, response: import('node:http').ServerResponse) => {
    if (request.url?.includes(sha256(BIG)) !== true) return false
    response.writeHead(200, { 'content-length': BIG.length })
    response.write(BIG.subarray(0, 1_000_000))
    return true
  }
  fake.before.push(handler)
  return () => fake.before.splice(fake.before.indexOf(handler), 1)
}

test.needs(needed, 'canceled in the middle: no process, no file, and the next one works', async () => {
  fake.putImage([BIG])
  const go = stall()
  const stop = new AbortController()
  let arrived = 0
  const progress = ({ done }: { done: number }) => {
    arrived = Math.max(arrived, done)
  }
  const canceled = failure(pull(store, `${fake.host}/big`, ALICE, { signal: stop.signal, progress }))
  await until('half of the layer', () => arrived > 100_000)
  const [pid] = importers()
  stop.abort()
  assert.is((await canceled).code, 'BERTH_ECANCELED')
  assert.not(importers().includes(pid ?? 0))
  assert.equal(readdirSync(join(lab.directory, 'tmp')), [])
  go()
  const image = await pull(store, `${fake.host}/big`)
  assert.equal(Object.keys(listImage(image.path)), ['noise'])
  await store.inventory.remove(image.key)
})

test.needs(needed, 'an importer that is killed is told, and the next one works', async () => {
  fake.putImage([BIG])
  const go = stall()
  let arrived = 0
  const killed = failure(
    pull(store, `${fake.host}/big`, ALICE, {
      progress: ({ done }) => {
        arrived = Math.max(arrived, done)
      },
    }),
  )
  await until('half of the layer', () => arrived > 100_000)
  for (const pid of importers()) process.kill(pid, 'SIGKILL')
  const error = await killed
  assert.is(error.code, 'BERTH_EIMPORTER')
  assert.match(error.message, 'was ended by SIGKILL')
  go()
  await store.inventory.remove((await pull(store, `${fake.host}/big`)).key)
})

test.needs(
  needed,
  'the importer runs as the unprivileged user, without capabilities and with little memory',
  async () => {
    fake.putImage([BIG])
    const go = stall()
    const stop = new AbortController()
    let arrived = 0
    const progress = ({ done }: { done: number }) => {
      arrived = Math.max(arrived, done)
    }
    const ended = failure(pull(store, `${fake.host}/big`, ALICE, { signal: stop.signal, progress }))
    await until('half of the layer', () => arrived > 100_000)
    const status = readFileSync(`/proc/${importers()[0]}/status`, 'utf8')
    stop.abort()
    await ended
    go()
    assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m)
    assert.match(status, /^Groups:\t ?$/m)
    assert.match(status, /^CapEff:\t0+$/m)
    assert.match(status, /^NoNewPrivs:\t1$/m)
    const resident_kib = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1])
    assert.ok(resident_kib < 150 * 1024, `${resident_kib} KiB`)
  },
)

test.needs(
  needed,
  'when memory runs out an importer counts like anybody, whatever the worker does',
  async () => {
    const own = '/proc/self/oom_score_adj'
    const before = readFileSync(own, 'utf8')
    // Its unit has -500, for which a test may lack the right.
    writeFileSync(own, '300')
    const another = await lab.open()
    try {
      fake.putImage([makeTar([{ name: 'small', content: 'x' }])])
      await another.resolve(parseReference(`${fake.host}/big`), ALICE)
      const scores = importers().map((pid) => readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim())
      assert.ok(scores.includes('0') && !scores.includes('300'), scores.join(' '))
    } finally {
      writeFileSync(own, before)
      await another.close()
    }
  },
)

test.needs(needed, 'layers that are not what they should be leave nothing behind', async () => {
  const cases: [string, Buffer, string[], string][] = [
    ['other content', gzipSync(BIG), [sha256(Buffer.from('x'))], 'BERTH_EDIGEST'],
    ['cut gzip', gzipSync(BIG).subarray(0, 100_000), [sha256(BIG)], 'BERTH_ELAYER'],
    ['cut tar', BIG.subarray(0, 1_000_100), [sha256(BIG.subarray(0, 1_000_100))], 'BERTH_ELAYER'],
    [
      'no tar',
      Buffer.from('hello '.repeat(1000)),
      [sha256(Buffer.from('hello '.repeat(1000)))],
      'BERTH_ELAYER',
    ],
  ]
  for (const [index, [name, layer, diffIds, code]] of cases.entries()) {
    fake.putImage([layer], { diffIds, tag: `bad${index}` })
    const error = await failure(pull(store, `${fake.host}/x:bad${index}`))
    assert.is(error.code, code, `${name}: ${error.message}`)
    assert.match(error.message, `failed to import docker image: ${fake.host}/x:bad`)
  }
  const digest = sha256(BIG)
  fake.putImage([BIG], { tag: 'flip' })
  fake.blobs.set(digest, Buffer.from(BIG).fill(~(BIG[5000] ?? 0), 5000, 5001))
  assert.is((await failure(pull(store, `${fake.host}/x:flip`))).code, 'BERTH_EDIGEST')
  fake.blobs.set(digest, BIG.subarray(0, 1000))
  assert.is((await failure(pull(store, `${fake.host}/x:flip`))).code, 'BERTH_ELAYER')
  fake.blobs.set(digest, BIG)
})

test.needs(needed, 'a bomb is refused by the limits on bytes and on files', async () => {
  const small = await lab.open({ bytesMax: 1_000_000, entriesMax: 50 })
  fake.putImage([gzipSync(makeTar([{ name: 'zeros', content: Buffer.alloc(20_000_000) }]))], {
    diffIds: [sha256(makeTar([{ name: 'zeros', content: Buffer.alloc(20_000_000) }]))],
    tag: 'bomb',
  })
  const bomb = await failure(pull(small, `${fake.host}/x:bomb`))
  assert.is(bomb.code, 'BERTH_ETOOBIG', bomb.message)
  fake.putImage([makeTar(Array.from({ length: 100 }, (_, index) => ({ name: `f${index}` })))], {
    tag: 'many',
  })
  assert.is((await failure(pull(small, `${fake.host}/x:many`))).code, 'BERTH_ETOOBIG')
})

test.needs(
  needed,
  'a missing tag, a missing file and an unknown host are told as what they are',
  async () => {
    const missingTag = await failure(pull(store, `${fake.host}/thisimagedoesntexist:none`))
    assert.is(missingTag.code, 'BERTH_EIMAGENOTFOUND')
    assert.match(missingTag.message, `failed to import docker image: ${fake.host}/thisimagedoesntexist`)
    assert.not.match(missingTag.message, '\n')
    const nowhere = await failure(pull(store, 'registry.invalid/x'))
    assert.is(nowhere.code, 'BERTH_EREGISTRY')
    assert.match(nowhere.message, 'registry.invalid')
    assert.is(
      (await failure(pull(store, './none.sqsh', { ...ALICE, cwd: lab.folder }))).code,
      'BERTH_EIMAGEFILE',
    )
  },
)

/** A squashfs with one file, of `owner`. */
function makeSquashfs(name: string, owner: number): string {
  const folder = lab.publicFolder('squash')
  const tree = join(folder, `${name}.tree`)
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/environment'), 'FROM_FILE=1\n')
  writeFileSync(join(tree, 'etc/passwd'), 'x:x:5:5::/:/bin/sh\n')
  const volume = '/data /data none x-create=dir,bind,rw,nosuid,nodev'
  writeFileSync(join(tree, 'etc/fstab'), `\${ENROOT_ROOTFS}${volume}\n`)
  const path = join(folder, `${name}.sqsh`)
  execFileSync('mksquashfs', [tree, path, '-noappend', '-quiet', '-no-progress', '-comp', 'zstd'])
  chownSync(path, owner, owner)
  return path
}

test.needs(
  needed,
  "a squashfs that a user can write is copied and verified; the user's later writes change nothing",
  async () => {
    const path = makeSquashfs('user', ALICE.uid)
    const image = await pull(store, path)
    assert.match(image.key, /^copy-/)
    assert.equal([image.config.env, image.config.volumes], [['FROM_FILE=1'], ['/data']])
    assert.match(image.passwd, /^x:x:5:5/)
    assert.is((await pull(store, './user.sqsh', { ...BOB, cwd: join(lab.folder, 'squash') })).key, image.key)
    const lease = await store.hold(image)
    assert.match(lease.device, '/dev/loop')
    const before = listImage(image.path)
    truncateSync(path, 100)
    assert.equal(listImage(image.path), before)
    lease.release()
    const damaged = await failure(pull(store, path))
    assert.is(damaged.code, 'BERTH_ESQUASHFS')
  },
)

test.needs(needed, 'damaged squashfs files and what only looks like one never reach the kernel', async () => {
  const path = makeSquashfs('damaged', ALICE.uid)
  const bytes = readFileSync(path)
  bytes.fill(0xff, 96, bytes.length - 200)
  writeFileSync(path, bytes)
  assert.is((await failure(pull(store, path))).code, 'BERTH_ESQUASHFS')
  writeFileSync(path, 'hello')
  const text = await failure(pull(store, path))
  assert.match(text.message, 'is no squashfs file')
  assert.is((await failure(pull(store, join(lab.folder, 'squash')))).code, 'BERTH_EIMAGEFILE')
})

function hasOpen(pid: number, path: string): boolean {
  try {
    const fds = `/proc/${pid}/fd`
    return readdirSync(fds).some((fd) => readlinkSync(join(fds, fd)) === path)
  } catch {
    return false
  }
}

test.needs(needed, 'a file that only root can have written is mounted as it is', async () => {
  // Below /tmp others could have renamed it: such a place must not be trusted.
  const made = makeSquashfs('root', 0)
  assert.match((await pull(store, made)).key, /^copy-/)
  const path = `/var/lib/berth-test-${process.pid}.sqsh`
  copyFileSync(made, path)
  try {
    const image = await pull(store, path)
    assert.match(image.key, /^file-/)
    assert.is(image.path, path)
    assert.equal(image.config.env, ['FROM_FILE=1'])
    // What has read an image is not kept for another order, and holds no space.
    await until('nobody who has read it', () => !importers().some((pid) => hasOpen(pid, path)))
    const lease = await store.hold(image)
    assert.match(lease.device, '/dev/loop')
    lease.release()
    assert.not(store.inventory.list().some(({ key }) => key === image.key))
  } finally {
    execFileSync('rm', ['-f', path])
  }
})

test.needs(
  needed,
  'a second owner after a change of settings: the record fits the file that is there',
  async () => {
    const directory = join(lab.folder, 'changed')
    const archive = join(lab.publicFolder('archives'), 'x.tar')
    const layer = makeTar([{ name: 'words', content: randomBytes(200_000).toString('hex') }])
    const config = {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [sha256(layer)] },
    }
    writeFileSync(
      archive,
      makeTar([
        { name: 'manifest.json', content: JSON.stringify([{ Config: 'c', Layers: ['l'] }]) },
        { name: 'c', content: JSON.stringify(config) },
        { name: 'l', content: layer },
      ]),
    )
    const first = await lab.open({ directory, compressor: 'zstd' })
    const { key, path } = await pull(first, `docker-archive:${archive}`, ALICE)
    await first.close()
    const second = await lab.open({ directory, compressor: 'gzip' })
    const image = await pull(second, `docker-archive:${archive}`, BOB)
    assert.is(image.key, key)
    assert.is(second.inventory.list().find((one) => one.key === key)?.size, statSync(path).size)
    await second.close()
    const third = await lab.open({ directory, compressor: 'gzip' })
    for (const user of [ALICE, BOB]) assert.ok(third.inventory.list(user.uid).some((one) => one.key === key))
  },
)

test.run()
