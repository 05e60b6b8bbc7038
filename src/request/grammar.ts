// SPDX-License-Identifier: Apache-2.0
/** Untrusted strings to a Request: the one grammar, run at submit and again on every node. */
import { Choices, type Given } from './choices.js'
import { parseEngine, parseEngineArgs, parseScope, parseTmpfsSize } from './engine.js'
import { parseEnvironmentNames } from './environment.js'
import { mentionedVariables } from './fields.js'
import { parseDevices, parseMpi, parseProfiles } from './hookup.js'
import { NO_IMAGE, parseImage } from './image.js'
import { parseMounts } from './mounts.js'
import { parseName } from './name.js'
import type { OptionName } from './options.js'
import { parseSave, parseWorkdir } from './paths.js'
import type { Request, Scope } from './request.js'
import { parseUnshare } from './unshare.js'
import { parseWritable, type WritableValue, writableFields } from './writable.js'

export interface RequestInput {
  /** "name=value" as the shim sends them: a flag as "=1" or "=0", names as in options.ts with their no- forms. */
  options: readonly string[]
  /** The job's or the user's environment, or the part of it that the worker keeps. */
  environment: ReadonlyMap<string, string>
  /** srun sbatch salloc | step batch interactive | run */
  context: string
  /** The site's batch_scope, for a user who says nothing. */
  defaultScope?: Scope
}

const SUBMIT_CONTEXTS = ['srun', 'sbatch', 'salloc']

/**
 * Reads all options and variables that concern berth.
 * @returns undefined when no container is asked for: no image and no name, or the image "none"
 * @throws BERTH_EOPTION, BERTH_ECONFLICT, BERTH_EEDF, BERTH_EEDFRAW
 */
export function parseRequest(input: RequestInput): Request | undefined {
  const choices = new Choices(input.options, input.environment)
  const image = choices.text('container-image')
  const name = choices.text('container-name')
  if (image?.value.trim() === NO_IMAGE || (image === undefined && name === undefined)) return undefined

  const reader = new Reader(choices)
  const request: Request = {
    image: reader.take('container-image', parseImage) ?? '',
    engine: reader.take('container-engine', parseEngine) ?? '',
    engineArgs: reader.take('container-engine-args', parseEngineArgs) ?? [],
    mounts: reader.take('container-mounts', (text) => parseMounts(text, variablesFor(text, input))) ?? [],
    profiles: reader.take('container-profile', parseProfiles) ?? [],
    devices: reader.take('container-device', parseDevices) ?? [],
    env: reader.take('container-env', (text) => parseEnvironmentNames(text, choices.warnings)) ?? [],
    unshare: reader.take('container-unshare', parseUnshare) ?? [],
    explain: reader.takeFlag('container-explain') ?? false,
    origins: reader.origins,
    warnings: choices.warnings,
    ...present('name', reader.take('container-name', parseName)),
    ...present('workdir', reader.take('container-workdir', parseWorkdir)),
    ...present('save', reader.take('container-save', parseSave)),
    ...present('mpi', reader.take('container-mpi', parseMpi)),
    ...present('scope', reader.take('container-scope', parseScope)),
    ...present(
      'shmSize',
      reader.take('container-shm-size', (text) => parseTmpfsSize('container-shm-size', text)),
    ),
    ...present('mountHome', reader.takeFlag('container-mount-home')),
    ...present('mountCwd', reader.takeFlag('container-mount-cwd')),
    ...present('remapRoot', reader.takeFlag('container-remap-root')),
    ...present('entrypoint', reader.takeFlag('container-entrypoint')),
    ...present('entrypointLog', reader.takeFlag('container-entrypoint-log')),
    ...takeWritable(reader, name !== undefined),
    ...takeFile(reader, choices),
    ...(reader.takeFlag('singularity-no-bind-defaults') === true ? { siteMounts: false } : {}),
  }
  return leavesScriptOnHost(request.scope ?? input.defaultScope, input.context) ? undefined : request
}

/** One line per flag that has no effect, since neither an image nor a name was given; variables are not reported. */
export function ignoredOptions(input: RequestInput): string[] {
  const choices = new Choices(input.options, input.environment)
  if (choices.text('container-image') !== undefined || choices.text('container-name') !== undefined) return []
  if (choices.edf !== undefined) return []
  return choices
    .given()
    .map((name) => `ignoring --${name} because neither --container-image nor --container-name is set`)
}

/** Variables that the options mention: the worker keeps them of a job's environment. */
export function variablesNeeded(options: readonly string[]): string[] {
  return options.filter((option) => option.startsWith('container-mounts=')).flatMap(mentionedVariables)
}

/** At submit there is no job yet: what Slurm will set is the node's to fill in, and any path here. */
function variablesFor(text: string, { context, environment }: RequestInput): ReadonlyMap<string, string> {
  if (!SUBMIT_CONTEXTS.includes(context)) return environment
  const later = mentionedVariables(text).filter((name) => /^SLURMD?_/.test(name) && !environment.get(name))
  return new Map([...environment, ...later.map((name): [string, string] => [name, '/later'])])
}

/** Shifter's way: with the scope "step" the batch script itself stays on the host. */
function leavesScriptOnHost(scope: Scope | undefined, context: string): boolean {
  return scope === 'step' && context === 'batch'
}

/** What an environment file says and no option can. */
function takeFile(reader: Reader, { edf }: Choices): Pick<Request, 'variables' | 'annotations'> {
  if (edf === undefined) return {}
  const { env, annotations, file } = edf.document
  const has = (table: object) => Object.keys(table).length > 0
  if (has(env) || has(annotations)) reader.origins.environment = `environment ${file}`
  return { ...(has(env) ? { variables: env } : {}), ...(has(annotations) ? { annotations } : {}) }
}

/** --container-writable[=…] and --container-readonly are one question with two spellings. */
function takeWritable(
  reader: Reader,
  named: boolean,
): Pick<Request, 'readonly' | 'writableOn' | 'writableSize'> {
  let given: WritableValue | undefined
  const writable = reader.takeFlag('container-writable', ({ value }) => {
    given = parseWritable(value)
    return given !== undefined
  })
  if (writable === undefined) return {}
  return { readonly: !writable, ...writableFields(given ?? {}, named) }
}

/** Takes values by name and remembers where each came from. */
class Reader {
  readonly origins: Record<string, string> = {}
  constructor(private readonly choices: Choices) {}

  take<T>(name: OptionName, parse: (text: string) => T): T | undefined {
    const given = this.choices.text(name)
    if (given === undefined) return undefined
    this.origins[name] = given.origin
    return parse(given.value)
  }

  takeFlag(name: OptionName, otherwise?: (given: Given) => boolean): boolean | undefined {
    const flag = this.choices.flag(name, otherwise)
    if (flag === undefined) return undefined
    this.origins[name] = flag.origin
    return flag.value
  }
}

/** An absent value leaves the key out (exactOptionalPropertyTypes), so that equal requests serialise equally. */
function present<Key extends string, T>(key: Key, value: T | undefined): { [K in Key]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: T })
}
