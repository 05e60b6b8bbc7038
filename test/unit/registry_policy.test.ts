// SPDX-License-Identifier: Apache-2.0
/** registries_allow and registries_deny: which names of images the site refuses, with the line that says so. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { checkRegistry } from '../../src/image/policy.js'
import { parseReference } from '../../src/image/reference.js'
import { BerthError } from '../../src/report/errors.js'
import { loadSite } from '../../src/site/site.js'
import { suite } from '../suite.js'

const test = suite('registries of a site')

/** '' or what the user is told. */
function told(settings: Record<string, string>, image: string): string {
  try {
    checkRegistry(parseReference(image), loadSite(settings))
    return ''
  } catch (error) {
    if (!(error instanceof BerthError) || error.code !== 'BERTH_EPOLICY') throw error
    return `${error.message}; ${error.hint}`
  }
}

test('without a word of the site all are taken', () => {
  for (const image of ['debian', 'nvcr.io/a/b:1', 'localhost:5000/a', './x.sqsh'])
    assert.is(told({}, image), '')
})

test('allowed are those that are named, by any name of theirs, at their own port', () => {
  const allow = { registries_allow: 'index.docker.io, Reg.Site:5000' }
  for (const image of ['debian', 'docker.io/library/debian', 'reg.site:5000/a', 'docker://reg.site:5000#a'])
    assert.is(told(allow, image), '', image)
  for (const image of ['nvcr.io/a/b', 'reg.site/a', 'reg.site:5001/a', 'evil.reg.site:5000/a'])
    assert.match(
      told(allow, image),
      /^registry \S+ is not allowed on this system; the site decided so: /,
      image,
    )
  for (const image of ['./x.sqsh', 'oci:dir', 'dir:/srv/root']) assert.is(told(allow, image), '', image)
})

test('denied are those that are named, at any port, allowed or not', () => {
  const deny = { registries_deny: 'docker.io,bad.site', registries_allow: 'bad.site:5000,docker.io,reg.site' }
  for (const image of ['debian', 'registry-1.docker.io/a/b', 'bad.site/a', 'bad.site:5000/a'])
    assert.match(told(deny, image), /registries_deny \(plugstack argument\)/, image)
  assert.is(told(deny, 'reg.site/a'), '')
})

test('what could never be a registry, a path or a name is an error of its line, and forbids all', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-policy-'))
  const config = join(directory, 'berth.conf')
  const lines: [line: string, problem: string][] = [
    ['registries_deny = https://docker.io/', '"https://docker.io/" should be HOST[:PORT]'],
    ['registries_allow = a.b, a.b/c', '"a.b/c" should be HOST[:PORT]'],
    ['mounts_deny = /ok, etc', '"etc" should be absolute paths'],
    ['env_deny = SECRET, A=b', '"A=b" should be names'],
    ['env_set = A=b, C', '"C" should be NAME=VALUE'],
    ['engine_partitions = gpu:podman', '"gpu:podman" should be PARTITION=ENGINE'],
    ['cdi_dirs = etc/cdi', '"etc/cdi" should be absolute paths'],
  ]
  try {
    for (const [line, problem] of lines) {
      writeFileSync(config, `${line}\n`)
      const messages = loadSite({ config }).errors.map(({ message }) => message)
      assert.equal(messages, [`${config}:1: ${line.split(' ')[0]}: ${problem}`])
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
