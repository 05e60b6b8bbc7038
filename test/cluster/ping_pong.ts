// SPDX-License-Identifier: Apache-2.0
/** A ping-pong of two ranks on one node (mpi_probe.c with the word "node"), inside and on the host in turns. */
import * as assert from 'uvu/assert'
import type { Outcome } from './command.js'
import { exits } from './expect.js'

/** Of the host's best burst. By which way messages went is not told by it: on one machine even TCP comes near in its best. */
const SHARE_MIN = 1 / 2
/** Other tests run beside these, and ranks wait by turning: a round tells only that it can be as fast. */
const ROUNDS_MAX = 30

interface PingPong {
  inside(): Promise<Outcome>
  outside(): Promise<Outcome>
  /** Looks at each outcome. */
  check?(outcome: Outcome): void
  roundsMin?: number
}

/** @throws where no round's best burst is half as fast as the host's best */
export async function comparePingPong(name: string, given: PingPong): Promise<void> {
  // Of the same rounds: who has more of them is lucky more often.
  const [host, own] = [{ speed: 0 }, { speed: 0 }]
  const isAsFast = () => own.speed >= host.speed * SHARE_MIN
  for (let round = 0; round < (given.roundsMin ?? 1) || (round < ROUNDS_MAX && !isAsFast()); round++)
    for (const [best, run] of [
      [host, given.outside],
      [own, given.inside],
    ] as const) {
      const seen = exits(await run(), 0)
      given.check?.(seen)
      best.speed = Math.max(best.speed, speedOf(seen))
    }
  const figures = `${name}: ping-pong of 4 MiB: inside ${own.speed} MB/s, on the host ${host.speed} MB/s`
  assert.ok(isAsFast(), figures)
  process.stdout.write(`${figures}\n`)
}

function speedOf({ stdout }: Outcome): number {
  return Number(/^bandwidth (\d+) MB/m.exec(stdout)?.[1])
}
