// SPDX-License-Identifier: Apache-2.0
/** Named containers as `berth containers` sees and removes them. */
import type { ContainerRow } from '../cli/containers.js'
import { BerthError } from '../report/errors.js'
import { shortName } from './facts.js'
import type { Worker } from './worker.js'

/** A user's own; root sees all. */
export async function listNamed(worker: Worker, uid: number): Promise<ContainerRow[]> {
  const { containers } = worker.rooms.store
  const rows = worker.story.containers(uid).map(async (container) => {
    const { name, scope, image, created } = container
    const id = `${container.uid}/${scope}/${name}`
    const running = worker.steps
      .list()
      .filter(({ containerKey, state }) => containerKey === id && state === 'running')
      .map((step) => ({ step: shortName(step.facts), pids: step.pids }))
    const size = await containers.size(container)
    return { id, name, uid: container.uid, scope, image: image.reference, size, created, running }
  })
  return Promise.all(rows)
}

/** By name, of whoever asks; by UID/SCOPE/NAME, of anybody for root. @throws BERTH_ENOSUCHCONTAINER, BERTH_ENAMERUNNING */
export async function removeNamed(
  worker: Worker,
  uid: number,
  names: readonly string[],
  force: boolean,
): Promise<string[]> {
  const all = worker.story.containers(uid)
  const chosen = names.flatMap((name) => {
    const found = all.filter((one) =>
      name.includes('/')
        ? `${one.uid}/${one.scope}/${one.name}` === name
        : one.uid === uid && one.name === name,
    )
    if (found.length === 0) throw new BerthError('BERTH_ENOSUCHCONTAINER', { name })
    return found
  })
  for (const container of chosen) await worker.story.removeContainer(container, force)
  return chosen.map(({ name }) => name)
}
