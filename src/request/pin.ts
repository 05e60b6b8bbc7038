// SPDX-License-Identifier: Apache-2.0
/** An image by digest, said in the words in which the user named it, so that it replaces them on every node. */
import { Choices } from './choices.js'
import { formatEdf } from './edf.js'
import type { RequestInput } from './grammar.js'

/** @returns "name=value" as the shim sends it. @throws as parseRequest */
export function pinnedOption(input: Pick<RequestInput, 'options' | 'environment'>, image: string): string {
  const choices = new Choices(input.options, input.environment)
  const origin = choices.text('container-image')?.origin ?? ''
  const [, flag] = /^flag --((?:shifter\.)?image|singularity-container)$/.exec(origin) ?? []
  if (flag !== undefined) return `${flag}=${flag.endsWith('image') ? 'docker:' : 'docker://'}${image}`
  if (choices.edf !== undefined && origin === `environment ${choices.edf.document.file}`)
    return `edf=${formatEdf({ ...choices.edf.document, image })}`
  return `container-image=${image}`
}
