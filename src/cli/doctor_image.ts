// SPDX-License-Identifier: Apache-2.0
/** What the plan for an image says, as lines of `berth doctor TOPIC IMAGE`. */
import type { KeptNote } from '../plan/spec.js'
import { BerthError } from '../report/errors.js'
import { type FieldValue, type FrameTag, Tag } from '../worker/frame.js'
import { callWorker, environmentField } from './client.js'
import type { Places } from './command.js'
import type { Finding } from './doctor.js'
import { renderOptions } from './edf_host.js'

/** The plan that a step of this user would get now, as the worker tells it. */
export async function describeImage(places: Places, words: readonly string[]): Promise<Finding[]> {
  const check = 'image'
  try {
    const options = await renderOptions([...words], places)
    const plan = (await callWorker(
      places,
      'explain',
      [],
      [
        ...options.map((option): [FrameTag, FieldValue] => [Tag.OPTION, option]),
        [Tag.CWD, process.cwd()],
        [Tag.ENV, environmentField(process.env)],
      ],
    )) as { berth: { notes?: string[]; kept?: KeptNote[]; warnings?: string[] } }
    const { notes = [], kept = [], warnings = [] } = plan.berth
    if (notes.length + warnings.length === 0)
      return [{ check, state: 'ok', found: 'nothing of the node is added' }]
    return [
      ...notes.map((found): Finding => {
        const code = kept.find(({ note }) => note === found)?.code
        return { check, state: 'ok', found, ...(code === undefined ? {} : { code }) }
      }),
      ...warnings.map((found): Finding => ({ check, state: 'warn', found })),
    ]
  } catch (error) {
    if (error instanceof BerthError) return [{ check, state: 'fail', found: error.message, fix: error.hint }]
    throw error
  }
}
