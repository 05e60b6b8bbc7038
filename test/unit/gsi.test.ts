// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { pickEngine } from '../../src/engine/select.js'
import { parseRequest } from '../../src/request/grammar.js'
import type { Request } from '../../src/request/request.js'
import { loadSite } from '../../src/site/site.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite("flags of GSI's slurm-singularity-exec")

function read(...options: string[]): Request | undefined {
  return parseRequest({ options, environment: new Map(), context: 'step' })
}

function parse(...options: string[]): Request {
  const request = read('singularity-container=docker://a', ...options)
  assert.ok(request)
  return request
}

test('the container is the image, an empty one is none', () => {
  assert.equal(parse().image, 'docker://a')
  assert.equal(read('singularity-container=/c/x.sqsh')?.image, '/c/x.sqsh')
  assert.equal(read('singularity-container='), undefined)
  assert.equal(read('singularity-container=none'), undefined)
})

test('binds become mounts, beside our own', () => {
  const request = parse('singularity-bind=/a,/b:/c:ro,/d:/e:rw', 'container-mounts=/x')
  assert.deepEqual(
    request.mounts.map(({ source, target, flags }) => [source, target, flags]),
    [
      ['/x', '/x', []],
      ['/a', '/a', []],
      ['/b', '/c', ['ro']],
      ['/d', '/e', ['rw']],
    ],
  )
})

test('what is no bind is refused', () => {
  const refused = (text: string, problem: string): void =>
    refuses(() => parse(`singularity-bind=${text}`), 'BERTH_EOPTION', `--singularity-bind: ${problem}`)
  refused('', 'argument required')
  refused('a:/b', 'invalid format: a:/b: must be /SRC[:/DST[:ro|rw]]')
  refused('/a:/b:image-src=/', 'invalid format: /a:/b:image-src=/: must be /SRC[:/DST[:ro|rw]]')
})

test("arguments are the engine's, under the site's policy", () => {
  const request = parse('singularity-args=--nv --cleanenv')
  assert.deepEqual(request.engineArgs, ['--nv', '--cleanenv'])
  refuses(() => pickEngine(request, loadSite({})), 'BERTH_EPOLICY', '--container-engine-args is not allowed')
  assert.deepEqual(parse('singularity-args=').engineArgs, [])
})

test('without the mounts of the site', () => {
  assert.equal(parse('singularity-no-bind-defaults=1').siteMounts, false)
  assert.equal(parse().siteMounts, undefined)
})

test('two words for one image are refused', () => {
  refuses(
    () => parse('container-image=b'),
    'BERTH_ECONFLICT',
    'both --singularity-container and --container-image were specified',
  )
})

test.run()
