// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { parseRequest } from '../../src/request/grammar.js'
import type { Request } from '../../src/request/request.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite('precedence of a request')

function read(options: string[], environment: Record<string, string> = {}): Request | undefined {
  return parseRequest({ options, environment: new Map(Object.entries(environment)), context: 'step' })
}

function parse(options: string[], environment: Record<string, string> = {}): Request {
  const request = read(['container-image=debian', ...options], environment)
  assert.ok(request)
  return request
}

test('no image and no name: no container', () => {
  assert.equal(read([]), undefined)
  assert.equal(read(['container-mounts=/a'], { PYXIS_CONTAINER_WORKDIR: '/' }), undefined)
})

test('a name alone asks for a container', () => {
  assert.equal(read(['container-name=x'])?.image, '')
})

test('"none" undoes an inherited image, and an empty variable asks for nothing', () => {
  assert.equal(read(['container-image=none'], { BERTH_CONTAINER_IMAGE: 'debian' }), undefined)
  assert.equal(read([], { PYXIS_CONTAINER_IMAGE: '' }), undefined)
  assert.equal(read([], { BERTH_CONTAINER_IMAGE: '', PYXIS_CONTAINER_IMAGE: 'b' })?.image, 'b')
})

test('flag over SLURM_BERTH_ over BERTH_ over PYXIS_', () => {
  const environment = {
    SLURM_BERTH_CONTAINER_IMAGE: 'inherited',
    BERTH_CONTAINER_IMAGE: 'ours',
    PYXIS_CONTAINER_IMAGE: 'theirs',
  }
  const image = (options: string[], left: Record<string, string>): string | undefined =>
    read(options, left)?.image
  assert.equal(image(['container-image=flag'], environment), 'flag')
  assert.equal(image([], environment), 'inherited')
  assert.equal(image([], { ...environment, SLURM_BERTH_CONTAINER_IMAGE: '' }), 'ours')
  assert.equal(image([], { PYXIS_CONTAINER_IMAGE: 'theirs' }), 'theirs')
})

test('each value says where it came from', () => {
  const request = parse(['container-mounts=/a'], {
    PYXIS_CONTAINER_ENV: 'A',
    BERTH_CONTAINER_REMAP_ROOT: 'yes',
  })
  assert.deepEqual(request.origins, {
    'container-image': 'flag --container-image',
    'container-mounts': 'flag --container-mounts',
    'container-env': 'PYXIS_CONTAINER_ENV',
    'container-remap-root': 'BERTH_CONTAINER_REMAP_ROOT',
  })
})

test('a value that the shim took from a variable is named as the variable', () => {
  const request = parse(['container-workdir=/w'], { PYXIS_CONTAINER_WORKDIR: '/w' })
  assert.equal(request.origins['container-workdir'], 'PYXIS_CONTAINER_WORKDIR')
  assert.deepEqual(parse(['container-mounts='], { PYXIS_CONTAINER_MOUNTS: '' }).mounts, [])
})

test("enroot's variables are the weakest, and its noes and yesses are its own", () => {
  const enroot = { ENROOT_MOUNT_HOME: 'y', ENROOT_REMAP_ROOT: 'N', ENROOT_ROOTFS_WRITABLE: 'on' }
  const request = parse([], enroot)
  assert.deepEqual([request.mountHome, request.remapRoot, request.readonly], [true, false, false])
  assert.equal(request.origins['container-mount-home'], 'ENROOT_MOUNT_HOME')
  const over = parse(['container-readonly'], { ...enroot, PYXIS_CONTAINER_MOUNT_HOME: '0' })
  assert.deepEqual([over.mountHome, over.readonly], [false, true])
})

test('lists of two sources do not mix', () => {
  const request = parse(['container-mounts=/a', 'container-env=A'], {
    PYXIS_CONTAINER_MOUNTS: '/b',
    PYXIS_CONTAINER_ENV: 'B',
  })
  assert.deepEqual(
    request.mounts.map(({ source }) => source),
    ['/a'],
  )
  assert.deepEqual(request.env, ['A'])
})

test('repeats: lists add up, the last single value counts', () => {
  const request = parse([
    'container-mounts=/a',
    'container-mounts=/b',
    'container-workdir=/x',
    'container-workdir=/y',
  ])
  assert.deepEqual(
    request.mounts.map(({ source }) => source),
    ['/a', '/b'],
  )
  assert.equal(request.workdir, '/y')
})

test('yes and no in all spellings', () => {
  assert.equal(parse(['container-remap-root=1']).remapRoot, true)
  assert.equal(parse(['container-remap-root=']).remapRoot, true)
  assert.equal(parse(['container-remap-root=(null)']).remapRoot, true)
  assert.equal(parse(['container-remap-root=0']).remapRoot, false)
  assert.equal(parse(['no-container-remap-root=1']).remapRoot, false)
  assert.equal(parse([]).remapRoot, undefined)
  for (const word of ['1', 'true', 'yes', 'y']) {
    assert.equal(parse([], { PYXIS_CONTAINER_MOUNT_HOME: word }).mountHome, true)
  }
  for (const word of ['0', 'false', 'no', 'n']) {
    assert.equal(parse([], { PYXIS_CONTAINER_MOUNT_HOME: word }).mountHome, false)
  }
})

test('another word: refused as a flag, warned about in BERTH_, passed over in PYXIS_', () => {
  refuses(
    () => parse(['container-remap-root=maybe']),
    'BERTH_EOPTION',
    '--container-remap-root: must be 1, true',
  )
  const ours = parse([], { BERTH_CONTAINER_REMAP_ROOT: 'True', PYXIS_CONTAINER_REMAP_ROOT: 'y' })
  assert.equal(ours.remapRoot, true)
  assert.deepEqual(ours.warnings, [
    'ignoring BERTH_CONTAINER_REMAP_ROOT=True: must be 1, true, yes, y, 0, false, no or n',
  ])
  const sentOn = { SLURM_BERTH_CONTAINER_REMAP_ROOT: 'True', PYXIS_CONTAINER_REMAP_ROOT: 'True' }
  assert.deepEqual(parse([], sentOn).warnings, [])
  const theirs = parse([], { PYXIS_CONTAINER_REMAP_ROOT: 'True' })
  assert.equal(theirs.remapRoot, undefined)
  assert.deepEqual(theirs.warnings, [])
})

test('a flag beats the variable, in both directions', () => {
  assert.equal(parse(['no-container-mount-home=1'], { PYXIS_CONTAINER_MOUNT_HOME: '1' }).mountHome, false)
  assert.equal(parse(['container-mount-home=1'], { PYXIS_CONTAINER_MOUNT_HOME: '0' }).mountHome, true)
})

test('writable and readonly are one question', () => {
  assert.equal(parse([]).readonly, undefined)
  assert.equal(parse(['container-readonly=1']).readonly, true)
  assert.equal(parse(['container-writable=1']).readonly, false)
  assert.equal(parse([], { PYXIS_CONTAINER_WRITABLE: '0' }).readonly, true)
  assert.equal(parse([], { PYXIS_CONTAINER_READONLY: '0' }).readonly, false)
  assert.equal(parse([], { PYXIS_CONTAINER_WRITABLE: '1', PYXIS_CONTAINER_READONLY: '1' }).readonly, false)
  assert.equal(parse(['container-readonly=1'], { PYXIS_CONTAINER_WRITABLE: '1' }).readonly, true)
  assert.equal(parse(['container-readonly=1'], { PYXIS_CONTAINER_READONLY: '0' }).readonly, true)
})

test('writable may say where, and how much there', () => {
  const fields = (value: string): unknown[] => {
    const { readonly, writableOn, writableSize } = parse([`container-writable=${value}`])
    return [readonly, writableOn, writableSize]
  }
  assert.deepEqual(fields('disk'), [false, 'disk', undefined])
  assert.deepEqual(fields('disk:4G'), [false, 'disk', '4G'])
  assert.deepEqual(fields('memory:50%'), [false, 'memory', '50%'])
  assert.equal(parse([], { PYXIS_CONTAINER_WRITABLE: 'disk:1G' }).writableOn, 'disk')
  for (const value of ['disk:', 'disk:lots', 'disk:1G:2G', 'tape', ':1G', 'Disk'])
    refuses(() => parse([`container-writable=${value}`]), 'BERTH_EOPTION', 'or disk or memory')
  assert.equal(parse(['container-writable=disk', 'container-name=x']).readonly, false)
  refuses(() => parse(['container-writable=memory', 'container-name=x']), 'BERTH_EOPTION', 'not in memory')
})

test('writable may carry a size', () => {
  const request = parse(['container-writable=4G'])
  assert.equal(request.readonly, false)
  assert.equal(request.writableSize, '4G')
  assert.equal(parse([], { BERTH_CONTAINER_WRITABLE: '50%' }).writableSize, '50%')
  refuses(
    () => parse(['container-writable=4G', 'container-name=x']),
    'BERTH_EOPTION',
    'a container with a name is on disk',
  )
  refuses(() => parse(['container-writable=lots']), 'BERTH_EOPTION', '--container-writable: must be 1, true')
})

test('a flag and its opposite on one command line are refused', () => {
  const both = (name: string, other: string): void =>
    refuses(
      () => parse([`${name}=1`, `${other}=1`]),
      'BERTH_ECONFLICT',
      `both --${name} and --${other} were specified`,
    )
  both('container-mount-home', 'no-container-mount-home')
  both('container-remap-root', 'no-container-remap-root')
  both('container-entrypoint', 'no-container-entrypoint')
  both('container-writable', 'container-readonly')
})

test('an option nobody knows is refused rather than dropped', () => {
  refuses(() => parse(['container-magic=1']), 'BERTH_EOPTION', '--container-magic: unknown option')
  refuses(() => parse(['no-container-image=1']), 'BERTH_EOPTION', '--no-container-image: unknown option')
})

test.run()
