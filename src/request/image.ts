// SPDX-License-Identifier: Apache-2.0
/** --container-image: what every reference must satisfy; what it refers to is src/image's to say. */
import { hasControl, optionProblem, showValue } from './problem.js'

/** PATH_MAX of Linux: nothing that berth could open is longer, a pasted file is. */
const IMAGE_BYTES_MAX = 4096
/** Takes back an image that an outer sbatch, salloc or the environment asked for. */
export const NO_IMAGE = 'none'

/** @throws BERTH_EOPTION */
export function parseImage(text: string): string {
  const image = text.trim()
  if (image === '') throw optionProblem('container-image', 'argument required')
  if (hasControl(image) || Buffer.byteLength(image) > IMAGE_BYTES_MAX) {
    throw optionProblem('container-image', `invalid format: ${showValue(image)}`)
  }
  return image
}
