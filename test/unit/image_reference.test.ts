// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import * as assert from 'uvu/assert'
import { familiarName, parseReference, pinReference } from '../../src/image/reference.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'

const test = suite('image reference')
const HEX = 'a'.repeat(64)

function registry(text: string): string {
  const { canonical, source } = parseReference(text)
  assert.is(source.kind, 'registry', text)
  return canonical
}

function refusal(text: string): string {
  try {
    parseReference(text)
  } catch (error) {
    assert.instance(error, BerthError)
    assert.is((error as BerthError).code, 'BERTH_EIMAGEREF')
    return (error as BerthError).message
  }
  throw new Error(`${JSON.stringify(text)} was accepted`)
}

test('docker spellings mean what they mean to docker', () => {
  assert.is(registry('ubuntu'), 'docker.io/library/ubuntu:latest')
  assert.is(registry('ubuntu:24.04'), 'docker.io/library/ubuntu:24.04')
  assert.is(registry('docker.io/ubuntu:24.04'), 'docker.io/library/ubuntu:24.04')
  assert.is(registry('index.docker.io/ubuntu'), 'docker.io/library/ubuntu:latest')
  assert.is(registry('nvidia/cuda:12.4.0-base'), 'docker.io/nvidia/cuda:12.4.0-base')
  assert.is(registry('nvcr.io/nvidia/tensorflow:24.01-tf2-py3'), 'nvcr.io/nvidia/tensorflow:24.01-tf2-py3')
  assert.is(registry('localhost/x'), 'localhost/x:latest')
  assert.is(registry('localhost:5000/a/b:1'), 'localhost:5000/a/b:1')
  assert.is(registry('127.0.0.1:5000/a'), '127.0.0.1:5000/a:latest')
  assert.is(registry('[::1]:5000/a'), '[::1]:5000/a:latest')
  assert.is(registry('docker://nvidia/cuda:12'), 'docker.io/nvidia/cuda:12')
  assert.is(registry('Registry.Example.COM/a'), 'registry.example.com/a:latest')
})

test('a digest decides, a tag beside it is kept for people', () => {
  assert.is(registry(`ubuntu@sha256:${HEX}`), `docker.io/library/ubuntu@sha256:${HEX}`)
  assert.is(registry(`ubuntu:24.04@sha256:${HEX}`), `docker.io/library/ubuntu:24.04@sha256:${HEX}`)
  const pinned = pinReference(parseReference('ubuntu:24.04'), `sha256:${HEX}`)
  assert.equal(pinned, parseReference(`ubuntu:24.04@sha256:${HEX}`))
  assert.equal(pinReference(parseReference('./x.sqsh'), ''), parseReference('./x.sqsh'))
})

test("enroot's spelling names the registry before #, and a user before @", () => {
  assert.is(registry('nvcr.io#nvidia/pytorch:24.01-py3'), 'nvcr.io/nvidia/pytorch:24.01-py3')
  assert.is(registry('docker.io#ubuntu:24.04'), 'docker.io/library/ubuntu:24.04')
  assert.is(registry('gcr.io#a/b.2-9'), 'gcr.io/a/b.2-9:latest')
  assert.is(registry('registry.gitlab.com#a/b/c/d:1.0.0-beta4'), 'registry.gitlab.com/a/b/c/d:1.0.0-beta4')
  assert.is(registry('docker://nvcr.io#nvidia/cuda'), 'nvcr.io/nvidia/cuda:latest')
  const { source } = parseReference('$oauthtoken@nvcr.io#nvidia/cuda:12')
  assert.equal(source, {
    kind: 'registry',
    host: 'nvcr.io',
    repository: 'nvidia/cuda',
    user: '$oauthtoken',
    tag: '12',
  })
})

test('files and layouts are named by path', () => {
  assert.equal(parseReference('./x.sqsh').source, { kind: 'squashfs', path: './x.sqsh' })
  assert.equal(parseReference('dir:a/b').source, { kind: 'directory', path: 'a/b' })
  assert.throws(() => parseReference('dir:/proc/1/root'), /is no root file system/)
  assert.equal(parseReference('../a b.img').source, { kind: 'squashfs', path: '../a b.img' })
  assert.equal(parseReference('/abs/x.sqsh').source, { kind: 'squashfs', path: '/abs/x.sqsh' })
  assert.equal(parseReference('oci:dir').source, { kind: 'oci', path: 'dir' })
  assert.equal(parseReference('oci:/a/b:1.0').source, { kind: 'oci', path: '/a/b', tag: '1.0' })
  assert.equal(parseReference('oci-archive:a.tar:x').source, { kind: 'oci-archive', path: 'a.tar', tag: 'x' })
  assert.equal(parseReference('docker-archive:a.tar').source, { kind: 'docker-archive', path: 'a.tar' })
  assert.equal(parseReference('docker-archive:a.tar:me/x:1').source, {
    kind: 'docker-archive',
    path: 'a.tar',
    tag: 'me/x:1',
  })
})

test('a file name without ./ is not taken for a Hub image', () => {
  assert.match(refusal('x.sqsh'), 'did you mean ./x.sqsh')
  assert.match(refusal('images/pytorch.sqsh'), 'did you mean ./images/pytorch.sqsh')
  assert.match(refusal('x.sif'), 'did you mean ./x.sif')
  assert.match(refusal('~/x.sqsh'), 'did you mean $HOME/x.sqsh')
})

test('a registry alone, as of an unescaped #, is no image of Docker Hub', () => {
  for (const text of ['nvcr.io', 'docker://ghcr.io', 'registry.site.example:5000'])
    assert.match(refusal(text), 'is a registry without an image: write')
  assert.match(refusal('nvcr.io'), '#SBATCH')
  assert.is(parseReference('python:3.12').canonical, 'docker.io/library/python:3.12')
})

test('nonsense is refused with the reason', () => {
  assert.match(refusal(''), 'is empty')
  assert.match(refusal('./'), 'names a directory')
  assert.match(refusal('.'), 'names a directory')
  assert.match(refusal('/'), 'names a directory')
  assert.match(refusal('/dev/urandom'), 'is not an image file')
  assert.match(refusal('/proc/self/mem'), 'is not an image file')
  assert.match(refusal('oci:/dev/stdin'), 'is not an image file')
  assert.match(refusal('Ubuntu'), 'lower case')
  assert.match(refusal('a//b'), 'empty part')
  assert.match(refusal('a/../b'), 'malformed part')
  assert.match(refusal('ubuntu:'), 'malformed tag')
  assert.match(refusal('ubuntu:a b'), 'malformed tag')
  assert.match(refusal('ubuntu@sha256:abc'), 'malformed digest')
  assert.match(refusal('docker://'), 'names no image')
  assert.match(refusal('nvcr.io#'), 'names no image')
  assert.match(refusal('library://a/b'), 'unknown scheme library://')
  assert.match(refusal('https://docker.io/ubuntu'), 'unknown scheme https://')
  assert.match(refusal('host:99999/a'), 'impossible port')
  assert.match(refusal('-x/../a'), 'malformed')
  assert.match(refusal('ubuntu\n'), 'control character')
  assert.match(refusal(`${'a'.repeat(300)}`), 'over 255 characters')
  assert.match(refusal('a'.repeat(5000)), 'longer than')
  for (let round = 0; round < 50; round++) {
    const lines =
      randomBytes(1536)
        .toString('base64')
        .match(/.{1,76}/g) ?? []
    assert.match(refusal(lines.join('\n')), 'control character')
  }
})

test('a refusal shows the text on one line and shortened', () => {
  const message = refusal(`a\u001b[31m${'x'.repeat(500)}`)
  assert.not.match(message, '\u001b')
  assert.ok(message.length < 200)
})

test('the familiar name is what a docker user would write', () => {
  assert.is(familiarName(parseReference('docker.io/library/python:3.12')), 'python:3.12')
  assert.is(familiarName(parseReference('nvidia/cuda:12')), 'nvidia/cuda:12')
  assert.is(familiarName(parseReference('ghcr.io/a/b')), 'ghcr.io/a/b:latest')
})

test('whatever is accepted keeps its meaning when it is written canonically; nothing else than EIMAGEREF is thrown', () => {
  const pieces = [
    'a',
    'B',
    '1',
    '.',
    ':',
    '/',
    '@',
    '#',
    '-',
    '_',
    ' ',
    'docker.io',
    'sha256:',
    HEX,
    'oci:',
    './',
    '$',
  ]
  // The same in every run (Numerical Recipes' linear congruence).
  let state = 1
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % below
  }
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    const length = 1 + random(8)
    const text = Array.from({ length }, () => pieces[random(pieces.length)]).join('')
    let parsed: ReturnType<typeof parseReference>
    try {
      parsed = parseReference(text)
    } catch (error) {
      assert.is((error as BerthError).code, 'BERTH_EIMAGEREF', text)
      continue
    }
    accepted++
    assert.equal(parseReference(parsed.canonical), parsed, text)
  }
  assert.ok(accepted > 100, `${accepted} accepted`)
})

test.run()
