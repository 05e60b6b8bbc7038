// SPDX-License-Identifier: Apache-2.0
/**
 * Which of several sources a value comes from: command line (or what srun, sbatch and salloc sent on from it) over
 * SLURM_BERTH_* over an environment file over BERTH_* over PYXIS_* over ENROOT_*. A source answers for the whole value: lists of
 * two sources never mix.
 */
import { BerthError } from '../report/errors.js'
import { BOOLEAN_GRAMMAR, parseBoolean } from '../site/values.js'
import type { Given, Level } from './dialect.js'
import { type Edf, edfValues, isRendered, parseEdf } from './edf.js'
import { translateGsi } from './gsi.js'
import { NO_IMAGE } from './image.js'
import { environmentSuffix, isOptionName, OPTIONS, type OptionName, optionRow } from './options.js'
import { optionProblem, showValue } from './problem.js'
import { translateShifter } from './shifter.js'

export type { Given }

/** Whoever asks for an environment file gets a root that can be written to (cscs-docs, edf.md), unless told otherwise. */
const EDF_DEFAULTS: ReadonlyMap<string, Given> = new Map([
  ['container-writable', { value: '1', origin: 'default of environment files' }],
])

export class Choices {
  readonly warnings: string[] = []
  /** The environment file that holds, rendered. */
  readonly edf: { document: Edf; origin: string } | undefined
  /** Highest first. */
  private readonly levels: readonly ReadonlyMap<string, Given>[]

  /**
   * @throws BERTH_EOPTION for an option that does not exist, BERTH_ECONFLICT for two that contradict each other,
   * BERTH_EEDF, BERTH_EEDFRAW
   */
  constructor(options: readonly string[], environment: ReadonlyMap<string, string>) {
    const given = readOptions(options)
    translate(given)
    const inherited = readEnvironment('SLURM_BERTH_', environment)
    translate(inherited)
    const ours = readEnvironment('BERTH_', environment)
    this.edf = takeEdf([given, inherited, ours])
    this.levels = [
      attribute(given, environment),
      attribute(inherited, environment),
      this.edf === undefined ? new Map() : edfLevel(this.edf.document),
      ours,
      readEnvironment('PYXIS_', environment),
      readEnroot(environment),
      this.edf === undefined ? new Map() : EDF_DEFAULTS,
    ]
  }

  /** Names given as options, in the table's order. */
  given(): OptionName[] {
    return (Object.keys(OPTIONS) as OptionName[]).filter((name) => this.levels[0]?.has(name))
  }

  /** The value that counts; undefined: nobody gave one. */
  text(name: OptionName): Given | undefined {
    return this.levels.find((level) => level.has(name))?.get(name)
  }

  /**
   * The yes or no that counts. In a variable any other word is passed over, as pyxis does; BERTH_ names warn.
   * @param otherwise answers for a value that is neither, e.g. a size; true when it took it as a yes
   */
  flag(
    name: OptionName,
    otherwise: (given: Given) => boolean = () => false,
  ): { value: boolean; origin: string } | undefined {
    for (const level of this.levels) {
      const direct = this.read(level.get(name), name, otherwise)
      if (direct !== undefined) return direct
      const opposite = optionRow(name).opposite
      if (opposite === undefined) continue
      const inverse = this.read(level.get(opposite), opposite, otherwise)
      if (inverse !== undefined) return { value: !inverse.value, origin: inverse.origin }
    }
    return undefined
  }

  private read(
    given: Given | undefined,
    name: string,
    otherwise: (given: Given) => boolean,
  ): { value: boolean; origin: string } | undefined {
    if (given === undefined) return undefined
    const value = parseBoolean(given.value) ?? (otherwise(given) ? true : undefined)
    if (value !== undefined) return { value, origin: given.origin }
    const more = isOptionName(name) ? optionRow(name).value : undefined
    const grammar = more === undefined ? BOOLEAN_GRAMMAR : `${BOOLEAN_GRAMMAR}, or ${more}`
    if (given.origin.startsWith('flag '))
      throw optionProblem(name, `must be ${grammar}: ${showValue(given.value)}`)
    if (!given.origin.startsWith('PYXIS_')) {
      this.warnings.push(`ignoring ${given.origin}=${showValue(given.value)}: must be ${grammar}`)
    }
    return undefined
  }
}

function translate(level: Level): void {
  translateShifter(level)
  translateGsi(level)
}

/**
 * The environment file of the strongest source that names one; "none", or no container at all, undoes a weaker one.
 * @throws BERTH_EEDF, BERTH_EEDFRAW for a name, which only who submitted could have looked up
 */
function takeEdf(levels: readonly Level[]): Choices['edf'] {
  const image = levels.find((level) => level.has('container-image'))?.get('container-image')
  if (image?.value.trim() === NO_IMAGE) return undefined
  for (const level of levels) {
    const candidates = [level.get('edf'), level.get('environment')].filter((given) => given !== undefined)
    const [given] = candidates.sort((left, right) => +isRendered(right.value) - +isRendered(left.value))
    if (given === undefined) continue
    if (given.value.trim() === NO_IMAGE || given.value === '') return undefined
    if (!isRendered(given.value)) throw new BerthError('BERTH_EEDFRAW', { name: showValue(given.value) })
    return { document: parseEdf(given.value), origin: given.origin }
  }
  return undefined
}

function edfLevel(edf: Edf): Map<string, Given> {
  const origin = `environment ${edf.file}`
  return new Map([...edfValues(edf)].map(([name, value]) => [name, { value, origin }]))
}

function readOptions(options: readonly string[]): Level {
  const level: Level = new Map()
  for (const option of options) {
    const equals = option.indexOf('=')
    const name = equals < 0 ? option : option.slice(0, equals)
    const value = equals < 0 ? '' : option.slice(equals + 1)
    const kind = kindOf(name)
    if (kind === undefined) throw optionProblem(showValue(name), 'unknown option')
    const before = level.get(name)?.value
    // A list that came in pieces; Slurm before 24.05 also hands the same piece over twice, which parsing drops.
    const joined = kind === 'list' && before !== undefined ? `${before},${value}` : value
    level.set(name, { value: kind === 'flag' ? flagText(joined) : joined, origin: `flag --${name}` })
  }
  checkConflicts(level)
  return level
}

/**
 * The shim sends one value per option, whoever gave it, and srun sends that on as SLURM_BERTH_*. One that equals a BERTH_ or PYXIS_ variable is the variable's:
 * it keeps its rank, but is named, and pardoned, as the variable would be.
 */
function attribute(level: Level, environment: ReadonlyMap<string, string>): Level {
  for (const [name, { value }] of level) {
    if (!isOptionName(name)) continue
    const prefixes = optionRow(name).pyxis ? ['BERTH_', 'PYXIS_'] : ['BERTH_']
    const variable = prefixes
      .map((prefix) => prefix + environmentSuffix(name))
      .find((spelled) => environment.get(spelled) === value)
    if (variable === undefined) continue
    if (value === '') level.delete(name)
    else level.set(name, { value, origin: variable })
  }
  return level
}

/** SPANK hands a flag over as no text, and prints that as "(null)" in some contexts (slurm-spank options, 22.05). */
function flagText(value: string): string {
  return value === '' || value === '(null)' ? '1' : value
}

function kindOf(name: string): 'single' | 'list' | 'flag' | undefined {
  if (isOptionName(name)) return OPTIONS[name].kind
  const positive = name.startsWith('no-') ? name.slice('no-'.length) : ''
  return isOptionName(positive) && optionRow(positive).opposite === name ? 'flag' : undefined
}

function checkConflicts(level: Level): void {
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const other = optionRow(name).opposite
    if (other === undefined) continue
    const asked = level.get(name)?.value ?? '0'
    if (parseBoolean(asked) !== false && parseBoolean(level.get(other)?.value ?? '0') === true) {
      throw new BerthError('BERTH_ECONFLICT', { option: name, other })
    }
  }
}

/** An empty variable counts as absent, so that a script can take back what its caller exported. */
function readEnvironment(prefix: string, environment: ReadonlyMap<string, string>): Level {
  const level: Level = new Map()
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const row = optionRow(name)
    if (prefix === 'PYXIS_' && !row.pyxis) continue
    if (prefix === 'BERTH_' && row.dialect !== undefined) continue
    const names: string[] = [name]
    if (prefix === 'SLURM_BERTH_' && row.opposite?.startsWith('no-')) names.push(row.opposite)
    for (const spelled of names) {
      const variable = prefix + environmentSuffix(spelled)
      const value = environment.get(variable) ?? ''
      if (value !== '') level.set(spelled, { value, origin: variable })
    }
  }
  return level
}

/** enroot's own words for no; all others are its yes (config::fini of enroot 4). */
const ENROOT_NO = /^(no?|N[oO]?|[fF](alse)?|FALSE)$/

/** What pyxis hands on to enroot with the job's environment. */
function readEnroot(environment: ReadonlyMap<string, string>): Level {
  const level: Level = new Map()
  for (const name of Object.keys(OPTIONS) as OptionName[]) {
    const variable = optionRow(name).enroot
    const value = variable === undefined ? '' : (environment.get(variable) ?? '')
    if (variable === undefined || value === '') continue
    level.set(name, { value: ENROOT_NO.test(value) ? '0' : '1', origin: variable })
  }
  return level
}
