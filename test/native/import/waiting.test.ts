// SPDX-License-Identifier: Apache-2.0
/** Layers that come faster than they are used: what is not taken yet stays in the network. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { makeTar } from '../../cluster/tar.js'
import { FakeRegistry, type Handler, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { Lab, listImage, missing, pull, until } from './fixture.js'

const test = suite('store: layers that wait')
/** Of a layer that is not its turn yet (native/core/squash/feed.hh). */
const WAITING_WINDOW = 4 << 20
const BIG = makeTar([{ name: 'noise', content: randomBytes(3_000_000) }])

test.needs(
  missing(),
  'a lower layer waits in the network while the one above stalls, and comes when it goes on',
  async () => {
    const lab = new Lab()
    const fake = await FakeRegistry.start()
    try {
      const lower = makeTar([{ name: 'lower', content: Buffer.alloc(64 << 20, randomBytes(65_521)) }])
      let sent = 0
      let resume: (() => void) | undefined
      const handler: Handler = ({ url }, response) => {
        if (url?.includes(sha256(BIG)) === true) {
          response.writeHead(200, { 'content-length': BIG.length })
          response.write(BIG.subarray(0, 1_000_000))
          resume = () => response.end(BIG.subarray(1_000_000))
          return true
        }
        if (url?.includes(sha256(lower)) !== true) return false
        response.writeHead(200, { 'content-length': lower.length })
        const more = () => {
          while (sent < lower.length) {
            const piece = lower.subarray(sent, sent + 65_536)
            sent += piece.length
            if (!response.write(piece)) return void response.once('drain', more)
          }
          response.end()
        }
        more()
        return true
      }
      fake.before.push(handler)
      fake.putImage([lower, BIG])
      const pulled = pull(await lab.open(), `${fake.host}/waits`)
      await until('both layers', () => sent > 0 && resume !== undefined)
      let [seen, since] = [0, Date.now()]
      await until('no more of the lower layer', () => {
        if (sent !== seen) [seen, since] = [sent, Date.now()]
        return Date.now() - since > 1000
      })
      const buffers = ['rmem', 'wmem'].map((name) =>
        Number(readFileSync(`/proc/sys/net/ipv4/tcp_${name}`, 'utf8').trim().split(/\s+/)[2]),
      )
      const bound = WAITING_WINDOW + buffers.reduce((sum, size) => sum + size, 1 << 20)
      assert.ok(sent < Math.min(bound, lower.length), `${sent} bytes`)
      resume?.()
      const image = await pulled
      assert.equal(Object.keys(listImage(image.path)).sort(), ['lower', 'noise'])
    } finally {
      await fake.stop()
      await lab.close()
    }
  },
)

test.run()
