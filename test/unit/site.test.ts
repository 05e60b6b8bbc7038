// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sifKeysFailure } from '../../src/launch/sif_signatures.js'
import { loadSite, type Site } from '../../src/site/site.js'
import { parseSeconds, parseSize, parseSpace } from '../../src/site/values.js'
import { suite } from '../suite.js'

const test = suite('site settings')
const directory = mkdtempSync(join(tmpdir(), 'berth-site-'))
const config = join(directory, 'berth.conf')

test.before(() => mkdirSync(join(directory, 'conf.d')))
test.after(() => rmSync(directory, { recursive: true }))

function load(
  text: string,
  dropIns: Record<string, string> = {},
  settings: Record<string, string> = {},
): Site {
  rmSync(join(directory, 'conf.d'), { recursive: true })
  mkdirSync(join(directory, 'conf.d'))
  writeFileSync(config, text)
  for (const [name, content] of Object.entries(dropIns))
    writeFileSync(join(directory, 'conf.d', name), content)
  return loadSite({ config, ...settings })
}

function problems(site: Site): string[] {
  return site.errors.map(({ message }) => message.replaceAll(directory, ''))
}

function warnings(site: Site): string[] {
  return site.warnings.map((line) => line.replaceAll(directory, ''))
}

test('without a file the defaults hold, silently', () => {
  const site = loadSite({})
  assert.equal(site.get('runtime_dir'), '/run/berth')
  assert.equal(site.get('store'), '/var/lib/berth')
  assert.equal(site.get('idle_exit'), 600)
  assert.equal(site.get('tag_ttl'), 2)
  assert.equal(site.get('block_size'), 131072)
  assert.equal(site.get('image_bytes_max'), 200 * 2 ** 30)
  assert.deepEqual(site.get('store_free_floor'), { percent: 5 })
  assert.equal(site.get('container_writable'), false)
  assert.equal(site.get('engine'), 'native')
  assert.deepEqual(site.get('engines'), [])
  assert.equal(site.origin('tag_ttl'), 'default')
  assert.deepEqual([...site.warnings, ...site.errors], [])
})

test('a value knows its file and line', () => {
  const site = load('# first\n\ntag_ttl = 30 ; seconds\n')
  assert.equal(site.get('tag_ttl'), 30)
  assert.equal(site.origin('tag_ttl'), `${config}:3`)
})

test('berth.conf, then conf.d by name, then the plugstack line', () => {
  const files = {
    '20-b.conf': 'level = 4',
    '10-a.conf': 'level=3\nthreads=2',
    '30.conf~': 'level=9',
    '.x.conf': 'level=9',
  }
  const site = load('level = 2\nidle_exit = 5m', files)
  assert.equal(site.get('level'), 4)
  assert.equal(site.get('threads'), 2)
  assert.equal(site.get('idle_exit'), 300)
  const again = load('level = 2', files, { level: '7' })
  assert.equal(again.get('level'), 7)
  assert.equal(again.origin('level'), 'plugstack argument')
})

test('an unknown key is a warning with file and line and stops nothing', () => {
  const site = load('[berth]\nlevle = 3\nlevel = 3')
  assert.deepEqual(warnings(site), [
    '/berth.conf:1: sections have no meaning here: [berth]',
    '/berth.conf:2: unknown key levle: did you mean level?',
  ])
  assert.equal(site.get('level'), 3)
  assert.deepEqual(site.errors, [])
})

test('a setting that is for the plugin, in a file that the plugin does not read, is told', () => {
  const site = load('runtime_dir = /run/other\nsbatch = no\nfrobnicate = 1')
  const told = "has no effect in a file: it belongs on berth's line in plugstack.conf"
  assert.deepEqual(warnings(site), [
    `/berth.conf:1: runtime_dir ${told}`,
    `/berth.conf:2: sbatch ${told}`,
    '/berth.conf:3: unknown key frobnicate',
  ])
  assert.equal(site.get('runtime_dir'), '/run/berth')
  assert.deepEqual(warnings(load('', {}, { runtime_dir: '/run/other', sbatch: 'no' })), [])
})

test('a value that cannot be read is an error with file and line, and the value below stays', () => {
  const site = load(
    'level = fast\ncompressor = zip\nstore = here\ncontainer_writable = True\nlevel = 99\nblock_size=1K',
  )
  assert.deepEqual(problems(site), [
    '/berth.conf:1: level: "fast" should be a whole number',
    '/berth.conf:2: compressor: "zip" should be zstd, lz4, gzip, none',
    '/berth.conf:3: store: "here" should be an absolute path',
    '/berth.conf:4: container_writable: "True" should be 1, true, yes, y, 0, false, no or n',
    '/berth.conf:5: level: "99" should be at most 22',
    '/berth.conf:6: block_size: "1K" should be at least 4096',
  ])
  assert.equal(site.get('level'), 1)
  assert.ok(site.errors.every(({ code }) => code === 'BERTH_ESITE'))
})

test('a block size that squashfs cannot have is refused', () => {
  assert.deepEqual(problems(load('block_size = 96K')), [
    '/berth.conf:1: block_size: "96K" should be a power of two',
  ])
})

test('lists: commas, or one line each; a backslash keeps a comma', () => {
  const site = load('registries_insecure = a:5000, b\nenv_set[] = A=1\nenv_set[] = B=x\\,y')
  assert.deepEqual(site.get('registries_insecure'), ['a:5000', 'b'])
  assert.deepEqual(site.get('env_set'), ['A=1', 'B=x,y'])
  assert.equal(load('mounts[]=/a:/b\nmounts[]=/c\\,d:/e').get('mounts'), '/a:/b,/c\\,d:/e')
})

test("pyxis' plugstack arguments are accepted, those without a meaning with one line", () => {
  const site = load(
    '',
    {},
    {
      runtime_path: '/run/pyxis',
      execute_entrypoint: '1',
      container_scope: 'job',
      sbatch_support: '0',
      use_enroot_load: '1',
      use_squashfuse: '1',
      importer: '/bin/x',
    },
  )
  assert.equal(site.get('container_entrypoint'), true)
  assert.equal(site.get('container_scope'), 'job')
  assert.equal(site.get('sbatch'), false)
  assert.equal(site.get('importer'), '/bin/x')
  assert.deepEqual(site.errors, [])
  assert.deepEqual(
    site.notes.map((line) => line.split(' ')[2]),
    ['runtime_path', 'use_enroot_load', 'use_squashfuse'],
  )
  assert.deepEqual(site.warnings, [])
})

test('a file that was named and is not there is an error: nobody knows what it forbids', () => {
  const site = loadSite({ config: join(directory, 'missing.conf') })
  assert.deepEqual(problems(site), ['/missing.conf: configuration: cannot be read: ENOENT'])
  assert.equal(site.errors[0]?.code, 'BERTH_ESITE')
})

test('so is one that nobody can read, wherever it stands, and none of them holds the worker up', () => {
  load('')
  const dropIns = join(directory, 'conf.d')
  symlinkSync('nowhere', join(dropIns, 'a.conf'))
  mkdirSync(join(dropIns, 'b.conf'))
  execFileSync('mkfifo', [join(dropIns, 'c.conf')])
  writeFileSync(join(dropIns, 'd.conf'), '#'.repeat((1 << 20) + 1))
  assert.deepEqual(problems(loadSite({ config })), [
    '/conf.d/a.conf: configuration: cannot be read: ENOENT',
    '/conf.d/b.conf: configuration: is no regular file',
    '/conf.d/c.conf: configuration: is no regular file',
    '/conf.d/d.conf: configuration: is larger than 1048576 bytes',
  ])
  rmSync(dropIns, { recursive: true })
  writeFileSync(dropIns, '')
  assert.deepEqual(problems(loadSite({ config })), ['/conf.d: configuration: cannot be read: ENOTDIR'])
  rmSync(dropIns)
  mkdirSync(dropIns)
})

test('a file of another system: its line ends and its byte order mark are no part of a value', () => {
  const site = load('\uFEFFtag_ttl = 30\r\nstore = /data/berth\r\n', { 'a.conf': '\uFEFFlevel = 3\n' })
  assert.deepEqual([site.get('tag_ttl'), site.get('store'), site.get('level')], [30, '/data/berth', 3])
  assert.deepEqual([...site.warnings, ...site.errors], [])
})

test('a file that others than root can write is told', () => {
  load('tag_ttl = 30\n', { 'a.conf': '' })
  chmodSync(config, 0o664)
  chmodSync(join(directory, 'conf.d/a.conf'), 0o646)
  const site = loadSite({ config })
  chmodSync(config, 0o644)
  assert.equal(site.get('tag_ttl'), 30)
  assert.deepEqual(warnings(site), [
    '/berth.conf: others than root can write it, and decide what the worker does as root',
    '/conf.d/a.conf: others than root can write it, and decide what the worker does as root',
  ])
})

test('sizes, shares and durations', () => {
  assert.equal(parseSize('1.5G'), 1.5 * 2 ** 30)
  assert.equal(parseSize('128KiB'), 131072)
  assert.equal(parseSize('12'), 12)
  for (const text of ['', '-1', 'G', '1X', '1e9', '99999999999999T'])
    assert.equal(parseSize(text), undefined, text)
  assert.deepEqual(parseSpace('50%'), { percent: 50 })
  assert.equal(parseSpace('150%'), undefined)
  assert.equal(parseSeconds('2h'), 7200)
  assert.equal(parseSeconds('2w'), undefined)
})

test('a file of SIF keys that others can write, or that is not there, is named', () => {
  const keys = join(directory, 'keys')
  const problem = () => sifKeysFailure(load(`sif_signatures = require\nsif_keys = ${keys}\n`))?.message ?? ''
  assert.equal(problem(), `${config}:1: sif_keys: ${keys} cannot be read: ENOENT`)
  writeFileSync(keys, 'x')
  assert.equal(problem(), '')
  chmodSync(keys, 0o666)
  assert.match(problem(), /keys is not read: others than root can write it$/)
  chmodSync(keys, 0o644)
  truncateSync(keys, (512 << 10) + 1)
  assert.match(problem(), /keys is larger than 524288 bytes$/)
  assert.equal(sifKeysFailure(load('sif_keys = /nowhere\n')), undefined)
})

test.run()
