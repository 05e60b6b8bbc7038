// SPDX-License-Identifier: Apache-2.0
/** The chapters of src/step.ts, and src/errands.ts, with this worker's rooms filled in. */
import {
  copyImage,
  listContainers,
  listEngines,
  makeContainer,
  pinImage,
  pullImage,
  removeContainer,
} from '../errands.js'
import {
  beginStep,
  explainStep,
  joinStep,
  openStep,
  parseStep,
  prepareStep,
  type Rooms,
  releaseImport,
  reopenStep,
  runEndHooks,
  saveStep,
} from '../step.js'

type Rest<F> = F extends (rooms: Rooms, ...rest: infer R) => infer T ? (...rest: R) => T : never

export interface Story {
  parse: Rest<typeof parseStep>
  prepare: Rest<typeof prepareStep>
  open: Rest<typeof openStep>
  explain: Rest<typeof explainStep>
  pull: Rest<typeof pullImage>
  copyImage: Rest<typeof copyImage>
  pin: Rest<typeof pinImage>
  save: Rest<typeof saveStep>
  releaseImport: Rest<typeof releaseImport>
  engines: Rest<typeof listEngines>
  containers: Rest<typeof listContainers>
  removeContainer: Rest<typeof removeContainer>
  makeContainer: Rest<typeof makeContainer>
  begin: typeof beginStep
  reopen: typeof reopenStep
  runEndHooks: typeof runEndHooks
  join: typeof joinStep
}

export function storyIn(rooms: Rooms): Story {
  return {
    parse: (...rest) => parseStep(rooms, ...rest),
    prepare: (...rest) => prepareStep(rooms, ...rest),
    open: (...rest) => openStep(rooms, ...rest),
    explain: (...rest) => explainStep(rooms, ...rest),
    pull: (...rest) => pullImage(rooms, ...rest),
    copyImage: (...rest) => copyImage(rooms, ...rest),
    pin: (...rest) => pinImage(rooms, ...rest),
    save: (...rest) => saveStep(rooms, ...rest),
    releaseImport: (...rest) => releaseImport(rooms, ...rest),
    engines: (...rest) => listEngines(rooms, ...rest),
    containers: (...rest) => listContainers(rooms, ...rest),
    removeContainer: (...rest) => removeContainer(rooms, ...rest),
    makeContainer: (...rest) => makeContainer(rooms, ...rest),
    begin: beginStep,
    reopen: reopenStep,
    runEndHooks,
    join: joinStep,
  }
}
