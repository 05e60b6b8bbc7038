// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { parseRequest } from '../../src/request/grammar.js'
import type { Request } from '../../src/request/request.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite("Shifter's flags")

function read(
  options: string[],
  context = 'step',
  environment: Record<string, string> = {},
): Request | undefined {
  return parseRequest({ options, environment: new Map(Object.entries(environment)), context })
}

function parse(...options: string[]): Request {
  const request = read(options)
  assert.ok(request)
  return request
}

test('docker: and no type are registry images, custom: is a file', () => {
  assert.equal(parse('image=docker:ubuntu:22.04').image, 'ubuntu:22.04')
  assert.equal(parse('image=ubuntu:22.04').image, 'ubuntu:22.04')
  assert.equal(parse('image=docker:reg.example:5000/a/b:1').image, 'reg.example:5000/a/b:1')
  assert.equal(parse('image=custom:/images/x.squashfs').image, '/images/x.squashfs')
  assert.equal(parse('shifter.image=docker:a').image, 'a')
})

test('types that need a gateway or a directory are refused by name', () => {
  refuses(() => parse('image=id:abc'), 'BERTH_EOPTION', "--image: id: names an image of Shifter's gateway")
  refuses(() => parse('shifter.image=local:/'), 'BERTH_EOPTION', '--shifter.image: local: names a directory')
  refuses(
    () => parse('image=custom:x.sqsh'),
    'BERTH_EOPTION',
    '--image: custom: names a squashfs file by /PATH',
  )
  refuses(() => parse('image=docker:'), 'BERTH_EOPTION', '--image: argument required')
  refuses(() => parse('image='), 'BERTH_EOPTION', '--image: argument required')
})

test('the batch script stays on the host, as with Shifter, unless a scope is given', () => {
  assert.equal(read(['image=docker:a'], 'batch'), undefined)
  assert.equal(read(['image=docker:a', 'container-scope=batch'], 'batch')?.image, 'a')
  assert.equal(read(['image=docker:a'], 'step')?.scope, 'step')
})

test('"none" undoes an inherited image', () => {
  assert.equal(read(['image=none'], 'step', { BERTH_CONTAINER_IMAGE: 'x' }), undefined)
})

test('volumes: several, flags, a quoted one, repeats of the flag', () => {
  const mounts = (text: string): [string, string, string[]][] =>
    parse('image=a', `volume=${text}`).mounts.map(({ source, target, flags }) => [source, target, flags])
  assert.deepEqual(mounts('/a:/b'), [['/a', '/b', ['bind']]])
  assert.deepEqual(mounts('/a:/b:ro;/c:/d'), [
    ['/a', '/b', ['bind', 'ro']],
    ['/c', '/d', ['bind']],
  ])
  assert.deepEqual(mounts('/a:/b,/c:/d'), [
    ['/a', '/b', ['bind']],
    ['/c', '/d', ['bind']],
  ])
  assert.deepEqual(mounts('/a:b:rec:slave'), [['/a', '/b', ['rbind', 'slave']]])
  assert.deepEqual(mounts('"/a:/b:private"'), [['/a', '/b', ['bind', 'private']]])
})

test('volumes that cannot be are refused by name', () => {
  const refused = (text: string, problem: string): void =>
    refuses(() => parse('image=a', `volume=${text}`), 'BERTH_EOPTION', `--volume: ${problem}`)
  refused(
    '/a:/b:perNodeCache=size=10G,bs=1M',
    'perNodeCache is not offered: /a:/b:perNodeCache=size=10G,bs=1M',
  )
  refused('/a', 'invalid format: /a: must be FROM:TO[:FLAG]')
  refused('a:/b', 'invalid format: a:/b: FROM must be a path')
  refused('/a:/b/../c', 'invalid format: /a:/b/../c: ".." in TO')
  refused('/a:/b:rw', 'invalid format: /a:/b:rw: unknown flag "rw"')
  refused(';', 'argument required')
})

test('volumes and --container-mounts of one command line add up', () => {
  const request = parse('image=a', 'container-mounts=/x:/y', 'volume=/a:/b')
  assert.deepEqual(
    request.mounts.map(({ source }) => source),
    ['/x', '/a'],
  )
})

test('modules are profiles, "none" is none', () => {
  assert.deepEqual(parse('image=a', 'module=mpich,gpu').profiles, ['mpich', 'gpu'])
  assert.deepEqual(parse('image=a', 'module=none').profiles, [])
  assert.deepEqual(parse('image=a', 'shifter.module=mpich').profiles, ['mpich'])
})

test('two words for one image are refused', () => {
  refuses(
    () => parse('image=a', 'container-image=b'),
    'BERTH_ECONFLICT',
    'both --image and --container-image were specified',
  )
})

test('inherited from an outer sbatch', () => {
  const environment = { SLURM_BERTH_IMAGE: 'docker:a', SLURM_BERTH_SHIFTER_VOLUME: '/a:/b' }
  const request = read([], 'step', environment)
  assert.equal(request?.image, 'a')
  assert.equal(request?.mounts[0]?.target, '/b')
  assert.equal(request?.origins['container-image'], 'SLURM_BERTH_IMAGE')
  assert.equal(read([], 'step', { BERTH_IMAGE: 'a', PYXIS_IMAGE: 'a' }), undefined)
})

test.run()
