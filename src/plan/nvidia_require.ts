// SPDX-License-Identifier: Apache-2.0
/**
 * NVIDIA_REQUIRE_*: conditions of an image on the node's driver. Spaces separate alternatives, commas what must all
 * hold; several variables must all be met (nvidia-container-toolkit, internal/requirements). The CUDA release that a
 * driver supports is told by its number (CUDA release notes, table of toolkit driver versions).
 */
import type { PlanInput } from './input.js'
import { imageValue, presentValue } from './variables.js'

/** Driver branch → newest CUDA it brings. */
const CUDA_OF_BRANCH: readonly (readonly [number, string])[] = [
  [580, '13.0'],
  [575, '12.9'],
  [570, '12.8'],
  [565, '12.7'],
  [560, '12.6'],
  [555, '12.5'],
  [550, '12.4'],
  [545, '12.3'],
  [535, '12.2'],
  [530, '12.1'],
  [525, '12.0'],
  [520, '11.8'],
  [515, '11.7'],
  [510, '11.6'],
  [495, '11.5'],
  [470, '11.4'],
  [465, '11.3'],
  [460, '11.2'],
  [455, '11.1'],
  [450, '11.0'],
  [440, '10.2'],
  [418, '10.1'],
  [410, '10.0'],
]
const CONDITION = /^(cuda|driver|arch|brand)(<=|>=|!=|=|<|>)(.+)$/
const ALTERNATIVES_MAX = 256
const VERSION = /^\d{1,6}(\.\d{1,6}){0,3}$/

type Verdict = 'met' | 'unmet' | 'unknown'

/** @returns undefined: nothing asked or all met; a note where a part could not be told; what is not met */
export function checkRequirements(
  input: PlanInput,
  driver: string,
): { requirement: string; found: string } | { note: string } | undefined {
  if (/^(1|true)$/i.test(presentValue(input, 'NVIDIA_DISABLE_REQUIRE'))) return undefined
  const names = (input.image.stored?.config.env ?? []).map((entry) => entry.split('=', 1)[0] ?? '')
  const facts = { driver, cuda: cudaOf(driver) }
  let note: { note: string } | undefined
  for (const name of new Set(names.filter((one) => one.startsWith('NVIDIA_REQUIRE_')))) {
    const text = imageValue(input, name) ?? ''
    const verdict = weigh(text, facts)
    if (verdict === 'unmet') {
      const cuda = facts.cuda === undefined ? '' : ` (CUDA ${facts.cuda})`
      return { requirement: `${name.slice(0, 60)}=${text.slice(0, 80)}`, found: `driver ${driver}${cuda}` }
    }
    if (verdict === 'unknown')
      note = { note: `${name.slice(0, 60)} cannot be told from the driver's version alone` }
  }
  return note
}

/** @param text of one variable */
export function weigh(text: string, facts: { driver: string; cuda: string | undefined }): Verdict {
  const alternatives = text.split(' ').filter((one) => one !== '')
  if (alternatives.length === 0) return 'met'
  const verdicts = alternatives.slice(0, ALTERNATIVES_MAX).map((one) => {
    const parts = one.split(',').map((condition) => weighOne(condition, facts))
    if (parts.includes('unmet')) return 'unmet'
    return parts.includes('unknown') ? 'unknown' : 'met'
  })
  if (verdicts.includes('met')) return 'met'
  return verdicts.includes('unknown') ? 'unknown' : 'unmet'
}

/** Brand and architecture are known to the driver only, which is never called. */
function weighOne(
  condition: string,
  { driver, cuda }: { driver: string; cuda: string | undefined },
): Verdict {
  const [, key, operator = '', value = ''] = CONDITION.exec(condition) ?? []
  const actual = key === 'driver' ? driver : key === 'cuda' ? cuda : undefined
  if (actual === undefined || !VERSION.test(value)) return 'unknown'
  const order = compare(actual, value)
  const holds: Readonly<Record<string, boolean>> = {
    '<=': order <= 0,
    '>=': order >= 0,
    '!=': order !== 0,
    '=': order === 0,
    '<': order < 0,
    '>': order > 0,
  }
  return holds[operator] === true ? 'met' : 'unmet'
}

/** undefined: a branch older than all that are known; one newer than all counts as the newest. */
export function cudaOf(driver: string): string | undefined {
  const branch = Number(driver.split('.', 1)[0])
  return CUDA_OF_BRANCH.find(([first]) => branch >= first)?.[1]
}

function compare(left: string, right: string): number {
  const [a, b] = [left.split('.').map(Number), right.split('.').map(Number)]
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
