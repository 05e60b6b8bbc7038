// SPDX-License-Identifier: Apache-2.0
/**
 * An OCI bundle's config.json (opencontainers/runtime-spec 1.2, config.md) as container options. What cannot be had is
 * refused; what has no effect is named, unless it only takes away privileges that a container here never has.
 */
import { dirname, isAbsolute, join } from 'node:path'
import { BerthError } from '../report/errors.js'
import { type BundleMount, translateMount } from './bundle_mounts.js'
import { formatMounts } from './mounts.js'
import { isOptionName } from './options.js'
import type { MountRequest } from './request.js'

interface Bundle {
  args: string[]
  /** The program's whole environment. */
  env: Map<string, string>
  /** "name=value" as a RUN carries them. */
  options: string[]
  /** Parts of config.json that are not applied. */
  ignored: string[]
}

/** Names the image of the store that is the bundle's root, as --container-image would. */
export const IMAGE_ANNOTATION = 'io.berth.image'
/** Any other option: io.berth.container-mount-home. */
const OPTION_ANNOTATION = /^io\.berth\.(container-.+)$/

/** Only limits a container of berth's more than it is limited anyway, or says nothing to a runtime without a terminal. */
const QUIET = new Set([
  ...['process.terminal', 'process.consoleSize', 'process.capabilities', 'process.noNewPrivileges'],
  ...['linux.maskedPaths', 'linux.readonlyPaths', 'linux.uidMappings', 'linux.gidMappings'],
])
const APPLIED = new Set([
  ...['ociVersion', 'process', 'root', 'mounts', 'annotations', 'linux', 'hooks'],
  ...['process.args', 'process.env', 'process.cwd', 'process.user', 'root.path', 'root.readonly'],
  ...['process.user.uid', 'process.user.gid', 'linux.namespaces'],
])
const OTHER_SYSTEMS = ['windows', 'vm', 'solaris', 'zos', 'freebsd']
const UNSHARED: Readonly<Record<string, string>> = { network: 'net', ipc: 'ipc', uts: 'uts' }
/** Every container has them, or nothing in it could tell. */
const ALWAYS = new Set(['user', 'mount', 'cgroup'])
/** Decide which rank a process is: the step's own count, whatever a bundle was made from. */
const OF_THE_TASK = /^(SLURM|PMI|PMIX|PALS)/

type Json = Record<string, unknown>

/**
 * @param directory absolute path of the bundle as its user made it: relative paths start there
 * @param text of its config.json
 * @param written text of the config.json as the user wrote it, where Slurm made `text` from that
 * @throws BerthError BERTH_EBUNDLE
 */
export function readBundle(directory: string, text: string, written: string | undefined): Bundle {
  const file = join(directory, 'config.json')
  const config = parse(file, text)
  const fail = (problem: string): never => {
    throw new BerthError('BERTH_EBUNDLE', { path: file, problem })
  }
  for (const name of OTHER_SYSTEMS) if (config[name] !== undefined) fail(`is for another system: ${name}`)
  if (!isEmpty(config.hooks)) fail('has hooks, which are not run here')
  const process = table(config.process)
  const args = texts(process.args) ?? fail('process.args is no list of texts')
  if (args.length === 0 || args[0] === '') fail('process.args names no program')
  if (args[0]?.endsWith('/berth-exec'))
    fail('is asked for together with --container-image: give one of the two')
  const entries = texts(process.env ?? []) ?? fail('process.env is no list of texts')
  const own = written === undefined ? entries : (texts(table(parse(file, written).process).env ?? []) ?? [])
  const spaces = namespaces(config, fail)
  const mounts = readMounts(config, directory, fail)
  return {
    args,
    env: mergeEnvironment(entries, own),
    options: [
      `container-image=${imageOf(config, directory, fail)}`,
      ...(mounts.length === 0 ? [] : [`container-mounts=${formatMounts(mounts)}`]),
      `container-workdir=${absolute(process.cwd) ?? fail('process.cwd is no absolute path')}`,
      ...(table(config.root).readonly === true ? ['container-readonly=1'] : ['container-writable=1']),
      ...userOptions(process),
      ...(spaces.unshare.length === 0 ? [] : [`container-unshare=${spaces.unshare.join(',')}`]),
      ...keptNames(own),
      // args are the whole command already.
      'no-container-entrypoint=1',
      ...annotated(config, fail),
    ],
    ignored: [...unapplied(config), ...spaces.ignored],
  }
}

/** Where the user's own bundle may be, when slurmstepd wrote this one from it: the directory of the root that it names. */
export function writtenFrom(directory: string, text: string): string | undefined {
  const path = absolute(table(parse(join(directory, 'config.json'), text).root).path)
  if (path === undefined || path.startsWith(`${directory}/`)) return undefined
  return dirname(path)
}

function parse(file: string, text: string): Json {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new BerthError('BERTH_EBUNDLE', { path: file, problem: 'is no JSON' })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BerthError('BERTH_EBUNDLE', { path: file, problem: 'is no JSON object' })
  return value as Json
}

function imageOf(config: Json, directory: string, fail: (problem: string) => never): string {
  const named = table(config.annotations)[IMAGE_ANNOTATION]
  if (typeof named === 'string' && named !== '') return named
  const { path } = table(config.root)
  if (typeof path !== 'string' || path === '') return fail(`has neither root.path nor ${IMAGE_ANNOTATION}`)
  return `dir:${isAbsolute(path) ? path : join(directory, path)}`
}

/** The bundle's own values over the job's, as an image's are; a name that is in there twice has its last value. */
function mergeEnvironment(entries: readonly string[], own: readonly string[]): Map<string, string> {
  const env = new Map(entries.map(splitEntry))
  for (const [name, value] of own.map(splitEntry)) if (!OF_THE_TASK.test(name)) env.set(name, value)
  env.delete('')
  return env
}

function splitEntry(entry: string): [string, string] {
  const equals = entry.indexOf('=')
  return equals < 0 ? ['', ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
}

/** So that neither the image's value nor the rule about locales touches what the bundle says. */
function keptNames(own: readonly string[]): string[] {
  const names = own.map((entry) => splitEntry(entry)[0]).filter((name) => /^[\w.-]+$/.test(name))
  return names.length === 0 ? [] : [`container-env=${[...new Set(names)].join(',')}`]
}

/** Only one id is mapped: the caller's own, seen as itself or as root. */
function userOptions(process: Json): string[] {
  const { uid } = table(process.user)
  if (uid === undefined) return []
  return [uid === 0 ? 'container-remap-root=1' : 'no-container-remap-root=1']
}

function namespaces(
  config: Json,
  fail: (problem: string) => never,
): { unshare: string[]; ignored: string[] } {
  const unshare: string[] = []
  const ignored: string[] = []
  for (const one of list(table(config.linux).namespaces)) {
    const { type, path } = table(one)
    const name = typeof type === 'string' ? type : ''
    if (typeof path === 'string' && path !== '')
      fail(`joins the ${name} namespace ${path}: that cannot be done`)
    if (ALWAYS.has(name)) continue
    const ours = Object.hasOwn(UNSHARED, name) ? UNSHARED[name] : undefined
    if (ours === undefined) ignored.push(`linux.namespaces ${name}`)
    else unshare.push(ours)
  }
  return { unshare: [...new Set(unshare)], ignored }
}

function readMounts(config: Json, directory: string, fail: (problem: string) => never): MountRequest[] {
  return list(config.mounts).flatMap((one) => {
    const { destination, type, source, options, ...more } = table(one)
    if (typeof destination !== 'string' || destination === '') return fail('has a mount without destination')
    for (const [key, value] of Object.entries(more))
      if (!isEmpty(value)) fail(`mount ${destination}: ${key} cannot be done`)
    const mount: BundleMount = {
      destination,
      options: texts(options ?? []) ?? fail(`mount ${destination}: options is no list of texts`),
      ...(typeof type === 'string' ? { type } : {}),
      ...(typeof source === 'string' ? { source } : {}),
    }
    const translated = translateMount(mount, directory)
    if (typeof translated === 'string') return fail(`mount ${destination} ${translated}`)
    return translated ?? []
  })
}

function annotated(config: Json, fail: (problem: string) => never): string[] {
  return Object.entries(table(config.annotations)).flatMap(([key, value]) => {
    const name = OPTION_ANNOTATION.exec(key)?.[1]
    if (name === undefined) return []
    if (!isOptionName(name) || name === 'container-image') return fail(`has the unknown annotation ${key}`)
    return [`${name}=${typeof value === 'string' ? value : fail(`annotation ${key} is no text`)}`]
  })
}

/** Paths of what is neither applied nor empty nor quiet. */
function unapplied(config: Json): string[] {
  const found: string[] = []
  const look = (value: Json, prefix: string): void => {
    for (const [key, inner] of Object.entries(value)) {
      const path = `${prefix}${key}`
      if (isEmpty(inner) || QUIET.has(path)) continue
      if (!APPLIED.has(path)) found.push(path)
    }
  }
  look(config, '')
  for (const part of ['process', 'root', 'linux']) look(table(config[part]), `${part}.`)
  look(table(table(config.process).user), 'process.user.')
  return found
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  if (Array.isArray(value)) return value.every(isEmpty)
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}

function table(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function texts(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : undefined
}

function absolute(value: unknown): string | undefined {
  return typeof value === 'string' && isAbsolute(value) ? value : undefined
}
