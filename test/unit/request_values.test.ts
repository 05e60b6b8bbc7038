// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: mounts spell variables this way
import assert from 'node:assert/strict'
import { BerthError } from '../../src/report/errors.js'
import { ignoredOptions, parseRequest, variablesNeeded } from '../../src/request/grammar.js'
import { OPTIONS } from '../../src/request/options.js'
import type { Request } from '../../src/request/request.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite('values of a request')

function parse(...options: string[]): Request {
  const request = parseRequest({
    options: ['container-image=debian:12', ...options],
    environment: new Map(),
    context: 'srun',
  })
  assert.ok(request)
  return request
}

function rejects(option: string, text: string): void {
  refuses(() => parse(option), 'BERTH_EOPTION', text)
}

test('an image is taken as written, without the spaces around it', () => {
  assert.equal(parse('container-image= quay.io/a/b:1 ').image, 'quay.io/a/b:1')
  assert.equal(
    parse('container-image=nvcr.io#nvidia/pytorch:24.01-py3').image,
    'nvcr.io#nvidia/pytorch:24.01-py3',
  )
  assert.equal(parse('container-image=./my image.sqsh').image, './my image.sqsh')
})

test('an image that cannot be one is refused, and not echoed at length', () => {
  rejects('container-image=', '--container-image: argument required')
  rejects('container-image=a\nb', '--container-image: invalid format: a\\nb')
  const noise = `${'Zm9v'.repeat(700)}\n${'YmFy'.repeat(700)}`
  assert.throws(
    () => parse(`container-image=${noise}`),
    (error: Error) => error.message.length < 200,
  )
})

test('a working directory may be relative and may not be empty', () => {
  assert.equal(parse('container-workdir=../').workdir, '../')
  rejects('container-workdir=', '--container-workdir: argument required')
})

test('names of variables', () => {
  assert.deepEqual(parse('container-env=FOO,LANG,FOO').env, ['FOO', 'LANG'])
  rejects('container-env=', '--container-env: argument required')
  rejects('container-env=FOO,', '--container-env: invalid format: FOO,')
  const mistaken = parse('container-env=FOO=1,BAR')
  assert.deepEqual(mistaken.env, ['BAR'])
  assert.match(mistaken.warnings.join(), /^ignoring FOO=1 of --container-env: .*--container-env=FOO$/)
})

test('a name and how it is used', () => {
  assert.deepEqual(parse('container-name=work').name, { name: 'work', mode: 'auto' })
  assert.deepEqual(parse('container-name=work:no_exec').name, { name: 'work', mode: 'no_exec' })
  assert.deepEqual(parse('container-name=4711.0').name, { name: '4711.0', mode: 'auto' })
  assert.deepEqual(parse('container-name=tr:').name, { name: 'tr', mode: 'auto' })
  rejects('container-name=', '--container-name: argument required')
  rejects('container-name=:exec', '--container-name: empty name')
  rejects('container-name=a:attach', '--container-name: flag must be "auto", "create", "exec" or "no_exec"')
  rejects('container-name=/tmp/foo', '--container-name: a name has no "/"')
  rejects(`container-name=${'a'.repeat(300)}`, '--container-name: name is longer than 200 bytes')
})

test('where to save', () => {
  assert.equal(parse('container-save=./a.sqsh').save, './a.sqsh')
  for (const path of ['/tmp/', '/', './', '..', 'a/..']) {
    rejects(`container-save=${path}`, '--container-save: target is a directory')
  }
  rejects('container-save=', '--container-save: argument required')
})

test('namespaces of its own', () => {
  assert.deepEqual(parse('container-unshare=uts,net').unshare, ['net', 'uts'])
  rejects('container-unshare=foo', "--container-unshare: unknown namespace 'foo'")
  rejects('container-unshare=net,foo', "--container-unshare: unknown namespace 'foo'")
  rejects('container-unshare=', '--container-unshare: argument required')
})

test('engine and words for it', () => {
  assert.equal(parse().engine, '')
  assert.equal(parse('container-engine=podman-hpc').engine, 'podman-hpc')
  assert.deepEqual(parse('container-engine-args=--a "b c" d').engineArgs, ['--a', 'b c', 'd'])
  rejects('container-engine=/bin/sh', '--container-engine: invalid format: /bin/sh')
  rejects('container-engine-args=a "b', '--container-engine-args: quote without an end')
})

test('scope and sizes', () => {
  assert.equal(parse('container-scope=job').scope, 'job')
  rejects('container-scope=global', '--container-scope: must be "step", "batch" or "job": global')
  assert.equal(parse('container-shm-size=8G').shmSize, '8G')
  rejects('container-shm-size=lots', '--container-shm-size: must be bytes')
})

test('devices, profiles and MPI are words', () => {
  assert.deepEqual(parse('container-device=nvidia.com/gpu=0,nvidia.com/gpu=1').devices, [
    'nvidia.com/gpu=0',
    'nvidia.com/gpu=1',
  ])
  assert.deepEqual(parse('container-profile=mpich,nccl').profiles, ['mpich', 'nccl'])
  assert.equal(parse('container-mpi=host').mpi, 'host')
  assert.deepEqual(parse('container-device=/dev/fuse').devices, ['/dev/fuse'])
  rejects('container-device=/etc/x', '--container-device: invalid format: /etc/x')
  rejects('container-mpi=', '--container-mpi: argument required')
})

test('a batch script stays on the host when only steps are asked for', () => {
  const input = {
    options: ['container-image=a', 'container-scope=step'],
    environment: new Map<string, string>(),
  }
  assert.equal(parseRequest({ ...input, context: 'batch' }), undefined)
  assert.equal(parseRequest({ ...input, context: 'step' })?.image, 'a')
  const asked = { ...input, context: 'batch', options: ['container-image=a', 'container-scope=batch'] }
  assert.equal(parseRequest({ ...asked, defaultScope: 'step' })?.image, 'a')
  assert.equal(parseRequest({ ...asked, options: ['container-image=a'], defaultScope: 'step' }), undefined)
})

test('flags without an image are named, one line each', () => {
  const input = {
    options: ['container-mounts=/a', 'container-remap-root=1', 'no-container-mount-home=1'],
    environment: new Map([['PYXIS_CONTAINER_ENV', 'A']]),
    context: 'srun',
  }
  assert.equal(parseRequest(input), undefined)
  assert.deepEqual(ignoredOptions(input), [
    'ignoring --container-mounts because neither --container-image nor --container-name is set',
    'ignoring --container-remap-root because neither --container-image nor --container-name is set',
  ])
  assert.deepEqual(ignoredOptions({ ...input, options: ['container-image=none', 'container-mounts=/a'] }), [])
})

test('no text makes any option fail in another way than by an error for users', () => {
  let seed = 4242
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return seed % below
  }
  const names = Object.keys(OPTIONS)
  const alphabet = 'a1/.:,"\\${}=%-+ \0\né'
  for (let round = 0; round < 5000; round++) {
    const text = Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join('')
    try {
      parse(`${names[random(names.length)]}=${text}`)
    } catch (error) {
      assert.ok(error instanceof BerthError, `${JSON.stringify(text)}: ${error}`)
      assert.doesNotMatch(error.message, /[\0\n]/)
    }
  }
})

test('variables that mounts mention are known before they are read', () => {
  assert.deepEqual(variablesNeeded(['container-mounts=${A}/x:${B_1}', 'container-env=${C}']), ['A', 'B_1'])
})

test.run()
