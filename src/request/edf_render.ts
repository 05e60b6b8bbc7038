// SPDX-License-Identifier: Apache-2.0
/**
 * `--environment=NAME|./FILE|/FILE` to one rendered environment: files found and read, bases merged, variables and
 * relative paths resolved. Runs as the user, where the user submits: never in the worker, which is root.
 */
import { isAbsolute, join, resolve } from 'node:path'
import { BerthError, messageOf } from '../report/errors.js'
import { type Edf, edfProblem } from './edf.js'
import { annotationNote } from './edf_annotations.js'
import { ExpansionError, expandVariables } from './edf_expand.js'
import { type EdfFile, placeOf, readEdfText } from './edf_file.js'
import { showValue } from './problem.js'

export interface EdfHost {
  environment: ReadonlyMap<string, string>
  /** Of who submits: relative paths start here, not where the file is. */
  cwd: string
  /** The site's directories, after the user's. */
  systemPath: readonly string[]
  /** Text of a regular file; undefined when there is none. @throws Error when it cannot be read */
  read(path: string): string | undefined
  /** Annotations that profiles of the site look at. */
  annotations?: ReadonlySet<string>
}

export interface RenderedEdf {
  edf: Edf
  /** For the user, once, at submit. */
  notes: string[]
}

/** Levels of base_environment, as the Container Engine documents them. */
const LEVELS_MAX = 10
/** Bases may share bases: without a bound on files ten levels of two would be a thousand reads. */
const FILES_MAX = 200

/** @throws BERTH_EEDF with file, line and key; BERTH_EEDFNAME when there is no such file */
export function renderEdf(name: string, host: EdfHost): RenderedEdf {
  const renderer = new Renderer(host)
  const file = renderer.find(name)
  const parts = renderer.collect(file, [])
  const merged = merge(name, file.path, parts)
  if (!parts.some(({ image }) => image !== undefined)) {
    throw edfProblem(
      file.path,
      'names no image, nor does a base_environment; image = "" stands for the bare host',
    )
  }
  return { edf: merged, notes: renderer.notes }
}

/** Where a name is looked for, in order; a path is taken as it is. */
export function edfPlaces(name: string, host: Omit<EdfHost, 'read'>): string[] {
  if (/^[./]/.test(name) || name.endsWith('.toml')) return [resolve(host.cwd, name)]
  const own = host.environment.get('EDF_PATH') ?? ''
  const home = host.environment.get('HOME') ?? ''
  const user = own !== '' ? own.split(':') : home === '' ? [] : [join(home, '.edf')]
  return [...user, ...host.systemPath].filter(isAbsolute).map((folder) => join(folder, `${name}.toml`))
}

class Renderer {
  readonly notes: string[] = []
  private files = 0

  constructor(private readonly host: EdfHost) {}

  find(name: string): EdfFile {
    if (name === '') throw new BerthError('BERTH_EEDFNAME', { name, places: 'no place' })
    const places = edfPlaces(name, this.host)
    for (const path of places) {
      const text = this.read(path)
      if (text !== undefined) return readEdfText(path, text)
    }
    const shown = places.map(showValue).join(', ')
    throw new BerthError('BERTH_EEDFNAME', {
      name: showValue(name),
      places: shown === '' ? 'any directory: EDF_PATH and HOME are not set' : shown,
    })
  }

  /** The file's bases first, each with its own bases before it, then the file. */
  collect(file: EdfFile, trail: readonly string[]): EdfFile[] {
    const place = (key: string): string => placeOf(file, [key])
    if (trail.includes(file.path)) throw edfProblem(file.path, 'is a base_environment of itself')
    if (trail.length > LEVELS_MAX)
      throw edfProblem(place('base_environment'), `more than ${LEVELS_MAX} levels of base_environment`)
    this.files++
    if (this.files > FILES_MAX)
      throw edfProblem(place('base_environment'), `more than ${FILES_MAX} files in base_environment`)
    const bases = file.base.flatMap((name) => {
      const expanded = this.expand(file, ['base_environment'], name)
      return this.collect(this.find(expanded), [...trail, file.path])
    })
    return [...bases, this.resolve(file)]
  }

  private read(path: string): string | undefined {
    try {
      return this.host.read(path)
    } catch (error) {
      throw edfProblem(path, `cannot be read: ${messageOf(error)}`)
    }
  }

  /** The file with all its values final. */
  private resolve(file: EdfFile): EdfFile {
    const text = (key: 'image' | 'workdir' | 'engine'): { [K in typeof key]?: string } => {
      const value = file[key]
      return value === undefined ? {} : { [key]: this.path(this.expand(file, [key], value)) }
    }
    for (const key of file.idle) this.notes.push(`${placeOf(file, [key])}: key ${key} has no effect here`)
    const devices = file.devices.map((device) => this.expand(file, ['devices'], device))
    const mounts = file.mounts.map((mount) => this.mount(file, this.expand(file, ['mounts'], mount)))
    return {
      ...file,
      ...text('image'),
      ...text('workdir'),
      ...text('engine'),
      mounts: [...mounts, ...devices.filter((device) => device.startsWith('/')).map(mountDevice)],
      devices: devices.filter((device) => !device.startsWith('/')),
      env: this.table(file, 'env'),
      annotations: this.annotate(file),
    }
  }

  private mount(file: EdfFile, text: string): string {
    const [source = '', target = source, flags, ...more] = text.split(':')
    const place = placeOf(file, ['mounts'])
    if (source === '' || target === '' || flags === '' || more.length > 0)
      throw edfProblem(place, `mount "${text}" is not SOURCE:DESTINATION[:FLAGS]`)
    if (flags?.split('+').includes('sqsh') === true)
      throw edfProblem(place, `mount "${text}": squashfs files cannot be mounted into a container here`)
    return [this.path(source), this.path(target), ...(flags === undefined ? [] : [flags])].join(':')
  }

  private table(file: EdfFile, key: 'env'): EdfFile['env'] {
    return Object.fromEntries(
      Object.entries(file[key]).map(([name, value]): [string, string | null] => {
        // A default may well be empty: that unsets too.
        const expanded = value === null ? '' : this.expand(file, [key, name], value)
        return [name, expanded === '' ? null : expanded]
      }),
    )
  }

  private annotate(file: EdfFile): EdfFile['annotations'] {
    const entries = Object.entries(file.annotations).map(([name, value]): [string, string] => {
      const keys = ['annotations', ...name.split('.')]
      const expanded = this.expand(file, keys, value)
      const note = this.host.annotations?.has(name) ? undefined : annotationNote(name, expanded)
      if (note !== undefined) this.notes.push(`${placeOf(file, keys)}: ${note}`)
      return [name, expanded]
    })
    return Object.fromEntries(entries)
  }

  private expand(file: EdfFile, keys: readonly string[], text: string): string {
    let expanded: string
    try {
      expanded = expandVariables(text, this.host.environment)
    } catch (error) {
      if (!(error instanceof ExpansionError)) throw error
      throw edfProblem(placeOf(file, keys), `"${keys.join('.')}": ${error.message}`)
    }
    const isVariable = keys[0] === 'env'
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
    if (isVariable ? expanded.includes('\0') : /[\u0000-\u001f\u007f]/.test(expanded))
      throw edfProblem(placeOf(file, keys), `"${keys.join('.')}" contains a control character`)
    return expanded
  }

  private path(text: string): string {
    return /^\.{1,2}(\/|$)/.test(text) ? resolve(this.host.cwd, text) : text
  }
}

/** Docker's PATH[:PATH[:rwm]]; what the task may open is its cgroup's to say. */
function mountDevice(device: string): string {
  const [source = '', target = source] = device.split(':')
  return `${source}:${target}`
}

/** Later files over earlier ones; lists grow, tables are united. */
function merge(name: string, file: string, parts: readonly EdfFile[]): Edf {
  const edf: Edf = {
    ...{ version: 1, name, file, image: '', mounts: [], devices: [] },
    ...{ env: {}, annotations: {} },
  }
  for (const part of parts) {
    if (part.image !== undefined) edf.image = part.image
    if (part.workdir !== undefined) edf.workdir = part.workdir
    if (part.engine !== undefined) edf.engine = part.engine
    if (part.entrypoint !== undefined) edf.entrypoint = part.entrypoint
    if (part.writable !== undefined) edf.writable = part.writable
    edf.mounts.push(...part.mounts)
    edf.devices.push(...part.devices)
    Object.assign(edf.env, part.env)
    Object.assign(edf.annotations, part.annotations)
  }
  return edf
}
