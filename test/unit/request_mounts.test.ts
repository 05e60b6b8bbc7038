// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: mounts spell variables this way
import assert from 'node:assert/strict'
import { formatMounts, parseMounts } from '../../src/request/mounts.js'
import type { MountRequest } from '../../src/request/request.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite('mounts of a request')
const NONE = new Map<string, string>()

function parse(text: string, variables: Record<string, string> = {}): MountRequest[] {
  return parseMounts(text, new Map(Object.entries(variables)))
}

function pairs(text: string, variables: Record<string, string> = {}): string[][] {
  return parse(text, variables).map(({ source, target, flags }) => [source, target, ...flags])
}

function rejects(text: string, phrase: string): void {
  refuses(() => parse(text), 'BERTH_EOPTION', `--container-mounts: ${phrase}`)
}

test('source, target and flags joined by + are three fields', () => {
  assert.deepEqual(parse('/home:/data:unbindable+ro'), [
    { source: '/home', kind: 'bind', target: '/data', flags: ['unbindable', 'ro'] },
  ])
})

test('one path means the same path inside', () => {
  assert.deepEqual(pairs('/var/lib'), [['/var/lib', '/var/lib']])
})

test('entries are separated by commas and keep their order', () => {
  assert.deepEqual(pairs('/a:/x,./b:/y,/c'), [
    ['/a', '/x'],
    ['./b', '/y'],
    ['/c', '/c'],
  ])
})

test('identical entries count once', () => {
  assert.deepEqual(pairs('/a:/x,/a:/x,/a:/x:ro'), [
    ['/a', '/x'],
    ['/a', '/x', 'ro'],
  ])
})

test('tmpfs takes its own options, umount a target', () => {
  assert.deepEqual(parse('tmpfs:/t:huge=within_size+size=1g+mode=0755,umount:/root'), [
    { source: 'tmpfs', kind: 'tmpfs', target: '/t', flags: ['huge=within_size', 'size=1g', 'mode=0755'] },
    { source: 'umount', kind: 'umount', target: '/root', flags: [] },
  ])
})

test('spaces are part of a path', () => {
  assert.deepEqual(pairs('/my data:/your data '), [['/my data', '/your data ']])
})

test('a target that climbs out is kept for planning to refuse', () => {
  assert.deepEqual(pairs('/home:../home'), [['/home', '../home']])
})

test('backslash and double quotes keep commas and colons in a path', () => {
  assert.deepEqual(pairs('/a\\,b:/c\\:d'), [['/a,b', '/c:d']])
  assert.deepEqual(pairs('"/a,b":"/c:d":ro'), [['/a,b', '/c:d', 'ro']])
  assert.deepEqual(pairs('/a\\b:/c"d'), [['/a\\b', '/c"d']])
  assert.deepEqual(pairs('"/a\\"b"'), [['/a"b', '/a"b']])
})

test('variables are filled in and their value is not split', () => {
  assert.deepEqual(pairs('${S}/in:/out', { S: '/scratch/a:b,c' }), [['/scratch/a:b,c/in', '/out']])
  assert.deepEqual(pairs('${S:-/tmp}:/out'), [['/tmp', '/out']])
  assert.deepEqual(pairs('$S/in:/out/$S_', { S: '/s', S_: 'x' }), [['/s/in', '/out/x']])
  assert.deepEqual(pairs('/a\\${S}:/\\$out/$1$'), [['/a${S}', '/$out/$1$']])
})

test('a variable that is not set is named', () => {
  rejects('${SCRATCH}:/x', 'variable is not set or empty: SCRATCH')
  rejects('/scratch/$JOB', 'variable is not set or empty: JOB')
  rejects('${:/x', 'malformed variable: ${:/x')
})

test('empty parts are an invalid format', () => {
  rejects('', 'argument required')
  for (const text of [':', '/tmp:', ':/tmp', '/a:/b,', ',', '/a:/b:ro:x']) rejects(text, 'invalid format: ')
})

test('no flags behind a colon are no flags', () => {
  assert.deepEqual(pairs('/tmp:/x:'), [['/tmp', '/x']])
})

test('a source that is a word is refused', () => {
  const phrase = 'mount source must be a relative path, an absolute path, "tmpfs" or "umount"'
  rejects('devpts:/x:ro', `invalid format: devpts:/x:ro: ${phrase}`)
  rejects('data:/x', `invalid format: data:/x: ${phrase}`)
})

test('a target that is a word is refused', () => {
  const phrase = 'mount target must be a relative path or an absolute path'
  rejects('/tmp:mnt:ro', `invalid format: /tmp:mnt:ro: ${phrase}`)
  rejects('/data:ro', `invalid format: /data:ro: ${phrase}`)
})

test('a mistyped flag is refused instead of leaving data writable', () => {
  rejects('/a:/b:r0', 'invalid format: /a:/b:r0: unknown bind flag "r0"')
  rejects('/a:/b:ro+', 'invalid format: /a:/b:ro+: unknown bind flag ""')
  rejects('tmpfs:/t:uid=0', 'invalid format: tmpfs:/t:uid=0: unknown tmpfs flag "uid=0"')
  rejects('tmpfs:/t:"size=1g,uid=0"', 'invalid format: tmpfs:/t:size=1g,uid=0: unknown tmpfs flag')
  rejects('umount:/t:ro', 'invalid format: umount:/t:ro: unknown umount flag "ro"')
})

test('quotes must end, and end the field', () => {
  rejects('"/a:/b', 'quote without an end: "/a:/b')
  rejects('"/a"x:/b', 'text after a closing quote: "/a"x:/b')
})

test('a list without end is refused', () => {
  const text = Array.from({ length: 300 }, (_, index) => `/a${index}`).join(',')
  rejects(text, 'more than 256 mounts')
})

test('what is pinned at submit is read back unchanged, whatever the paths hold', () => {
  let seed = 20240607
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return seed % below
  }
  const alphabet = ['a', ' ', ',', ':', '"', '\\', '$', '{', '}', '+', '/', 'é', '${S}', '\\"']
  const word = (): string =>
    Array.from({ length: random(9) }, () => alphabet[random(alphabet.length)]).join('')
  for (let round = 0; round < 2000; round++) {
    const mounts: MountRequest[] = Array.from({ length: 1 + random(3) }, (_, index) => ({
      source: `/${word()}`,
      kind: 'bind',
      target: `/${index}${word()}`,
      flags: random(2) === 0 ? [] : ['ro', 'rprivate'],
    }))
    assert.deepEqual(parseMounts(formatMounts(mounts), NONE), mounts, formatMounts(mounts))
  }
})

test('no text makes the grammar fail in any other way than by its own error', () => {
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return seed % below
  }
  const alphabet = '/.:,"\\${}S-+ro tmpfs\0\n'
  for (let round = 0; round < 5000; round++) {
    const text = Array.from({ length: random(24) }, () => alphabet[random(alphabet.length)]).join('')
    try {
      for (const mount of parse(text, { S: '/s' })) assert.match(mount.target, /^[/.]/)
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'BERTH_EOPTION', `${JSON.stringify(text)}: ${error}`)
    }
  }
})

test.run()
