// SPDX-License-Identifier: Apache-2.0
/** A real Slurm whose worker is the fake: n1 has the plugin, n2 has not, n3 and n4 have a worker that cannot start. */
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { encodeFrame, type Fields, Flag, type FrameType, Tag, Type } from '../../../src/worker/frame.js'
import { type Cluster, startCluster } from '../../cluster/cluster.js'
import type { Suite } from '../../suite.js'
import { compileFake, FakeWorker, makeDirectory, type Rule } from './fake.js'

export const N1 = ['-w', 'n1', '-N1']
export const N2 = ['-w', 'n2', '-N1']
export const N3 = ['-w', 'n3', '-N1']
export const N4 = ['-w', 'n4', '-N1']
/** What a test of this folder needs; empty: nothing is missing. */
export const notRoot = process.getuid?.() === 0 ? '' : 'root'

export const answer = (type: FrameType, fields: Fields = []): { send: Buffer } => ({
  send: encodeFrame(type, fields),
})
export const ACK = answer(Type.ACK)

/** Runs the command on the host: enough to see what arrives. */
export const BARE: readonly Rule[] = [
  [Type.CHECK, ACK, answer(Type.PIN)],
  [Type.TASK, ACK],
  [Type.HELLO, answer(Type.JOIN, [[Tag.FLAGS, Flag.BARE]])],
  [Type.RELEASE, ACK],
  [Type.PREFETCH, ACK],
]

export const REFUSAL = answer(Type.FAIL, [
  [Tag.CODE, 'BERTH_EOPTION'],
  [Tag.TEXT, '--container-mounts: invalid format: :'],
  [Tag.HINT, 'SRC:DST'],
  [Tag.EXIT, 125],
])

/** BARE with other answers to some frames. */
export function instead(...rules: Rule[]): Rule[] {
  return [...rules, ...BARE.filter(([type]) => !rules.some(([other]) => other === type))]
}

/** Options of the last REGISTER, or of whatever frame. */
export function options(fake: FakeWorker, type: FrameType = Type.REGISTER): string[] {
  return fake.of(type).at(-1)?.frame.texts(Tag.OPTION) ?? []
}

interface Rig {
  cluster: Cluster
  /** A fake worker at n1, of root or of a user whose directory it then is; the caller stops it. */
  start(rules: readonly Rule[], uid?: number): Promise<FakeWorker>
  /** The same for the time of `body`. */
  withWorker<T>(rules: readonly Rule[], body: (fake: FakeWorker) => Promise<T>): Promise<T>
}

/** Registers before and after; the returned object is filled when the first test runs. */
export function useRig(test: Suite): Rig {
  const rig = {} as Rig
  const directory = makeDirectory()
  test.before(async () => {
    if (notRoot !== '') return
    const program = compileFake(directory.path)
    rig.cluster = await startCluster({
      prolog: true,
      nodes: [
        {},
        { plugin: false },
        { plugArgs: ['node=/bin/false'] },
        { plugArgs: ['node=/nonexistent/node'] },
      ],
    })
    const runtime = rig.cluster.nodes[0]?.runtimeDir ?? ''
    mkdirSync(runtime, { recursive: true })
    rig.start = (rules, uid = 0) => {
      chownSync(runtime, uid, uid)
      return FakeWorker.start(program, directory.path, join(runtime, 'worker.sock'), rules, uid)
    }
    rig.withWorker = async (rules, body) => {
      const fake = await rig.start(rules)
      try {
        return await body(fake)
      } finally {
        await fake.stop()
      }
    }
  })
  test.after(async () => {
    if (notRoot === '') await rig.cluster.stop()
    directory.remove()
  })
  return rig
}
