// SPDX-License-Identifier: Apache-2.0
/** What is written into a squashfs so that enroot starts it as the image says: run by a shell, as enroot does. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { EMPTY_CONFIG } from '../../src/image/config.js'
import { enrootFiles } from '../../src/image/enroot_files.js'
import type { ImageConfig } from '../../src/image/image.js'
import { readSavedConfig } from '../../src/image/saved.js'
import { suite } from '../suite.js'

const test = suite("enroot's files")
const place = mkdtempSync(join(tmpdir(), 'berth-enroot-'))
test.after(() => rmSync(place, { recursive: true, force: true }))

function filesOf(config: Partial<ImageConfig>): Map<string, string> {
  const files = enrootFiles({ ...EMPTY_CONFIG, ...config }, 'docker://some/image:1')
  return new Map(files.map(({ path, content }) => [path, content]))
}

function start(config: Partial<ImageConfig>, ...command: string[]): string[] {
  const script = join(place, 'rc')
  writeFileSync(script, filesOf(config).get('etc/rc') ?? '')
  return execFileSync('sh', [script, ...command], { encoding: 'utf8' })
    .trimEnd()
    .split('\n')
}

test('the environment is one variable a line, without what would break the lines', () => {
  const files = filesOf({ env: ['PATH=/opt/bin:/bin', 'TWO=a\nB=c', 'QUOTED="it"'] })
  assert.is(files.get('etc/environment'), 'PATH=/opt/bin:/bin\nQUOTED="it"\n')
})

test('a command runs in the directory of the image, which is made, behind its entrypoint', () => {
  const workdir = join(place, "a dir's", 'below')
  const config = { workdir, entrypoint: ['printf', '<%s>\\n', "it's"], cmd: ['not this'] }
  assert.equal(start(config, 'a b', '$HOME'), ["<it's>", '<a b>', '<$HOME>'])
  assert.ok(existsSync(workdir))
  assert.equal(start({ workdir }, 'sh', '-c', 'pwd; env | grep -c OLDPWD || true'), [workdir, '0'])
})

test('without a command it is what the image starts, or a shell', () => {
  assert.equal(start({ entrypoint: ['echo'], cmd: ['a', "b'c"] }), ["a b'c"])
  assert.equal(start({ cmd: ['echo', 'cmd'] }), ['cmd'])
  const script = filesOf({}).get('etc/rc') ?? ''
  assert.match(script, /set -- '\/bin\/sh'\n/)
})

test('berth finds all of it, and the directory is there though the layers lack it', () => {
  const config = {
    ...EMPTY_CONFIG,
    env: ['A=b\nc'],
    user: 'u',
    workdir: '/work//in/./it',
    labels: { l: 'm' },
  }
  const files = filesOf(config)
  assert.equal(readSavedConfig(Buffer.from(files.get('.berth/image.json') ?? '')), config)
  assert.ok(files.has('work/in/it/'))
  assert.equal(
    [...filesOf({ workdir: '/../x' }).keys(), ...filesOf({ workdir: '/' }).keys()].filter((path) =>
      path.endsWith('/'),
    ),
    [],
  )
})

test('volumes are directories that enroot mounts on themselves', () => {
  const files = filesOf({ volumes: ['/data', '/var/lib/db', '/odd one'] })
  const options = 'none x-create=dir,bind,rw,nosuid,nodev'
  const root = '$' + '{ENROOT_ROOTFS}'
  assert.is(
    files.get('etc/fstab'),
    `${root}/data /data ${options}\n${root}/var/lib/db /var/lib/db ${options}\n`,
  )
  assert.ok(files.has('data/') && files.has('var/lib/db/'))
  const saved = readSavedConfig(Buffer.from(files.get('.berth/image.json') ?? ''))
  assert.equal(saved?.volumes, ['/data', '/var/lib/db', '/odd one'])
})

test.run()
