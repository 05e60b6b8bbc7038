// SPDX-License-Identifier: Apache-2.0
/**
 * The environment as edits on the task's own: what the image sets wins over the host, except the names of
 * --container-env; what only the host has stays; the host's locale goes, since the image rarely has it.
 * (pyxis' rules, which its users' scripts rely on.) An environment file's variables win over both.
 */
import { planHomeVariable, planLoginVariables } from './home.js'
import { planHookup } from './hookup.js'
import { BERTH_DEFAULT, IMAGE_CONFIG, originOf, type PlanInput } from './input.js'
import { planPytorchVariables } from './pytorch.js'
import type { PlannedVariable } from './spec.js'

const LOCALE = ['LANG', 'LANGUAGE', 'LC_ALL']
/** What docker, podman and the OCI image spec's runtimes use when an image names none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/**
 * Set per task by slurmstepd or by the terminal: an image that was committed from a running job may carry stale ones.
 * PMI_FD, PMI_RANK, PMIX_RANK, PALS_RANKID and SLURM_PROCID decide which rank a process is,
 * the masks of GPUs which device it may use, and those of Slingshot which network.
 */
const OF_THE_TASK =
  /^(SLURM_.*|SLURMD_.*|PMI_.*|PMI2_.*|PALS_.*|PMIX_(RANK|NAMESPACE|HOSTNAME|VERSION|SERVER_.*|MCA_(psec|gds|ptl)|[A-Z]+_MODE|GDS_MODULE|SYSTEM_TMPDIR)|TERM|SLINGSHOT_.*|(CUDA|ROCR|HIP|NVIDIA)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK)$/

export function planEnvironment(input: PlanInput, hookup = planHookup(input)): PlannedVariable[] {
  const variables = new Map<string, PlannedVariable>()
  const add = (variable: PlannedVariable): void => void variables.set(variable.name, variable)
  const kept = new Set(input.request.env)

  for (const variable of planLoginVariables(input)) add(variable)
  for (const name of LOCALE) {
    if (kept.has(name)) continue
    add({ name, action: 'unset', reason: 'locale of the host', origin: BERTH_DEFAULT })
  }
  const image = imageVariables(input)
  if (!image.has('PATH') && input.image.stored !== undefined) {
    add({
      name: 'PATH',
      action: 'set',
      value: DEFAULT_PATH,
      reason: 'image names none',
      origin: BERTH_DEFAULT,
    })
  }
  for (const [name, value] of image) {
    if (OF_THE_TASK.test(name)) continue
    add({ name, action: 'set', value, reason: 'image over host', origin: IMAGE_CONFIG })
  }
  const home = planHomeVariable(input)
  if (home !== undefined) add(home)
  for (const variable of hookup.variables) add(variable)
  for (const variable of planPytorchVariables(input)) add(variable)
  for (const variable of fileVariables(input)) add(variable)
  keepHostValues(input, variables)
  for (const variable of siteVariables(input)) add(variable)
  return [...variables.values()]
}

/** The image's value stays as the one to use where the host has none. */
function keepHostValues({ request }: PlanInput, variables: Map<string, PlannedVariable>): void {
  const origin = originOf(request, 'container-env', BERTH_DEFAULT)
  for (const name of request.env) {
    const variable = variables.get(name)
    if (variable?.action === 'copy') variables.delete(name)
    if (variable?.action !== 'set' || variable.extended === true) continue
    variables.set(name, { ...variable, action: 'default', reason: 'host over image', origin })
  }
}

function imageVariables({ image }: PlanInput): Map<string, string> {
  const variables = new Map<string, string>()
  for (const entry of image.stored?.config.env ?? []) {
    const equals = entry.indexOf('=')
    if (equals > 0) variables.set(entry.slice(0, equals), entry.slice(equals + 1))
  }
  return variables
}

/** Of an environment file: over the image's and the host's. */
function fileVariables({ request }: PlanInput): PlannedVariable[] {
  const origin = originOf(request, 'environment', BERTH_DEFAULT)
  return Object.entries(request.variables ?? {}).map(
    ([name, value]): PlannedVariable =>
      value === null
        ? { name, action: 'unset', reason: 'taken out by the environment file', origin }
        : { name, action: 'set', value, reason: 'environment file over image and host', origin },
  )
}

function siteVariables({ site }: PlanInput): PlannedVariable[] {
  const denied = site.get('env_deny').map(
    (name): PlannedVariable => ({
      name,
      action: 'unset',
      reason: 'kept outside',
      origin: site.origin('env_deny'),
    }),
  )
  const set = site.get('env_set').map((entry): PlannedVariable => {
    const [name = '', ...value] = entry.split('=')
    return {
      name,
      action: 'set',
      value: value.join('='),
      reason: 'set for all',
      origin: site.origin('env_set'),
    }
  })
  return [...denied, ...set.filter(({ name }) => name !== '')]
}
