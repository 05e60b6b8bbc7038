// SPDX-License-Identifier: Apache-2.0
/** What an importer found, out of its answer. */
import { FACTS_FIELD, takeFacts } from '../image/facts.js'
import { GROUP, type Imported, PASSWD, takeCaptured, takeImported } from '../image/wire.js'
import type { Frame } from '../worker/frame.js'
import type { Facts } from './intake.js'

export function factsOf(frame: Frame): Facts & Pick<Imported, 'problem'> {
  const facts = takeCaptured(frame, FACTS_FIELD)
  return {
    ...takeImported(frame),
    passwd: takeCaptured(frame, PASSWD),
    group: takeCaptured(frame, GROUP),
    ...(facts === '' ? {} : { facts: takeFacts(facts) }),
  }
}
