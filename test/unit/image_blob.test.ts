// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http'
import * as assert from 'uvu/assert'
import { readBounded } from '../../src/image/body.js'
import { verified } from '../../src/image/reader.js'
import type { RegistryReader } from '../../src/image/registry.js'
import { failure } from '../failure.js'
import type { Handler } from '../registry.js'
import { suite } from '../suite.js'
import { isBlob, LAYER, withRegistry } from './image_place.js'

const test = suite('registry blobs')

/** Breaks the first `times` answers for the layer after `bytes` bytes, or answers as `also` wants. */
function breaking(
  times: number,
  bytes: number,
  also?: (from: number, response: ServerResponse) => boolean,
): Handler {
  let left = times
  return (request, response) => {
    if (!isBlob(request.url)) return false
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (left-- <= 0) return also?.(from, response) ?? false
    if (from > 0)
      response.writeHead(206, { 'content-range': `bytes ${from}-${LAYER.length - 1}/${LAYER.length}` })
    else response.writeHead(200, { 'content-length': LAYER.length })
    response.write(LAYER.subarray(from, from + bytes), () => response.destroy())
    return true
  }
}

async function layerOf(reader: RegistryReader) {
  const image = await reader.open(await reader.resolve())
  const layer = image.layers[0]
  if (layer === undefined) throw new Error('no layer')
  return () => readBounded(verified(reader.layer(layer), layer), layer.size)
}

test('a broken stream goes on where it broke, with the same hash', () =>
  withRegistry(async ({ registry, reader }) => {
    const read = await layerOf(reader())
    registry.before.push(breaking(3, 70_000))
    registry.asked.length = 0
    assert.ok(LAYER.equals(await read()))
    const ranges = registry.asked.map(({ headers }) => headers.range)
    assert.is(ranges.length, 4)
    assert.is(ranges[0], undefined)
    assert.match(String(ranges[3]), /^bytes=\d+-$/)
  }))

test('a server that cannot resume sends all again; what is there is not taken twice', () =>
  withRegistry(async ({ registry, reader }) => {
    const read = await layerOf(reader())
    const whole = (_from: number, response: ServerResponse) => {
      response.writeHead(200, { 'content-length': LAYER.length }).end(LAYER)
      return true
    }
    registry.before.push(breaking(1, 100_000, whole))
    assert.ok(LAYER.equals(await read()))
  }))

test('a resume at another place is refused', () =>
  withRegistry(async ({ registry, reader }) => {
    const read = await layerOf(reader())
    const elsewhere = (from: number, response: ServerResponse) => {
      response.writeHead(206, { 'content-range': `bytes ${from - 1}-${LAYER.length - 1}/${LAYER.length}` })
      response.end(LAYER.subarray(from - 1))
      return true
    }
    registry.before.push(breaking(1, 100_000, elsewhere))
    const error = await failure(read())
    assert.is(error.code, 'BERTH_ELAYER')
    assert.match(error.message, 'resumes at another place')
  }))

test('a stream that always breaks is given up with the place and the number of bytes', () =>
  withRegistry(async ({ registry, reader }) => {
    const read = await layerOf(reader())
    registry.before.push(breaking(1000, 1000))
    const error = await failure(read())
    assert.is(error.code, 'BERTH_ELAYER')
    assert.match(error.message, /ends after \d+ of 300000 bytes \(127\.0\.0\.1/)
  }))

test('other bytes, too few or too many of them are found out', () =>
  withRegistry(async ({ registry, reader }) => {
    const read = await layerOf(reader())
    let bytes = Buffer.from(LAYER)
    const send: Handler = (request, response) => {
      if (!isBlob(request.url)) return false
      response.writeHead(200).end(bytes)
      return true
    }
    registry.before.push(send)
    bytes[5] = (bytes[5] ?? 0) ^ 1
    assert.is((await failure(read())).code, 'BERTH_EDIGEST')
    bytes = Buffer.concat([LAYER, Buffer.from('x')])
    assert.match((await failure(read())).message, /300001 bytes at|longer than/)
    bytes = Buffer.alloc(0)
    assert.is((await failure(read())).code, 'BERTH_ELAYER')
  }))

test.run()
