// SPDX-License-Identifier: Apache-2.0
/**
 * A profile: a named set of edits that a site offers, as [profile NAME] in berth.conf, from a podman-hpc module, or
 * shipped. A mistake in one is kept in it: it fails the steps that use the profile, and nothing else.
 */
import type { ConfigLine } from './config_file.js'

/** Any one of them brings the profile in; each can be named by --container-profile besides. */
export type Trigger =
  | { kind: 'always' }
  /** value absent: set to anything but empty, 0 or no. */
  | { kind: 'env'; name: string; value?: string }
  | { kind: 'label'; name: string; value?: string }
  /** Of an environment file. */
  | { kind: 'annotation'; name: string; value?: string }
  /** The host has this file, or one that matches. */
  | { kind: 'host'; path: string }

interface ProfileVariable {
  action: 'set' | 'prepend' | 'append' | 'unset' | 'keep'
  name: string
  value: string
}

export interface Profile {
  name: string
  /** "/etc/berth/berth.conf:12", "shipped with berth" */
  place: string
  /** Of each item that has a line of its own, see placeOf(). */
  places: ReadonlyMap<string, string>
  help: string
  triggers: Trigger[]
  conflicts: string[]
  depends: string[]
  env: ProfileVariable[]
  /** SRC[:DST[:FLAGS]], SRC may have * and ?. */
  binds: string[]
  /** SRC:DST of small files, which the container may change. */
  copies: string[]
  /** CDI names, /dev paths. */
  devices: string[]
  /** Directories of the container that the loader searches first. */
  ldPath: string[]
  /** Directories with OCI hook files. */
  hooks: string[]
  /** An MPI installation of the host, for --container-mpi. */
  mpi?: string
  /** Which of them the profile means; absent: each one that is there. */
  mpiFamily?: MpiFamily
  /** "FILE:LINE: KEY: what is wrong" */
  problems: string[]
}

const PROFILE_KEYS: Readonly<Record<string, string>> = {
  help: 'one line for `berth check`',
  trigger: 'always, env|label|annotation NAME[=VALUE], host PATH; several: any of them',
  conflicts: 'profiles that cannot be used with it',
  depends: 'profiles that it brings in, before itself',
  env_set: 'NAME=VALUE over image and host',
  env_prepend: 'NAME=DIR before what the variable has',
  env_append: 'NAME=DIR after what the variable has',
  env_unset: 'NAME',
  env_keep: "NAME: the host's value wins over the image's",
  bind: 'SRC[:DST[:FLAG+FLAG]] with * and ? in SRC; without DST at the same path',
  copy: 'SRC:DST of small files that the container may change',
  devices: 'VENDOR/CLASS=NAME of CDI files, /dev/PATH',
  ld_path: 'directories of the container that its loader searches first',
  hooks: 'directories with OCI hook files',
  mpi: 'directory of an MPI installation on the host',
  mpi_family: 'mpich, openmpi or abi: the one that is meant, where the directory has several',
}

export const PROFILE_NAME = /^[A-Za-z0-9][\w.-]{0,63}$/
/** As symbols tell them apart. */
const MPI_FAMILIES = ['mpich', 'openmpi', 'abi'] as const
type MpiFamily = (typeof MPI_FAMILIES)[number]
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/
const TRIGGER = /^(always|(env|label|annotation)\s+([^\s=]+)(?:=(.*))?|host\s+(\/.*))$/

export function emptyProfile(name: string, place: string): Profile {
  return {
    ...{ name, place, help: '', triggers: [], conflicts: [], depends: [], env: [], binds: [], copies: [] },
    ...{ devices: [], ldPath: [], hooks: [], problems: [], places: new Map() },
  }
}

type Wrong = (problem: string, item?: string) => void

/** @param lines of one section, each with its place */
export function parseProfile(name: string, place: string, lines: readonly ConfigLine[]): Profile {
  const profile = { ...emptyProfile(name, place), places: placesOf(lines) }
  if (!PROFILE_NAME.test(name)) profile.problems.push(`${place}: "${name}" is no name of a profile`)
  const last = new Map<string, ConfigLine>()
  // KEY[] lines arrive with all items so far; a later file's line replaces an earlier one's.
  for (const line of lines) last.set(line.key, line)
  for (const line of last.values()) takeLine(profile, line)
  return profile
}

/** Where an item of a list was written; several lines of KEY[] make one. */
export function placeOf({ place, places }: Profile, key: string, item: string): string {
  return places.get(`${key} ${item}`) ?? place
}

/** The first line that has it, since later ones repeat what came before. */
function placesOf(lines: readonly ConfigLine[]): Map<string, string> {
  const places = new Map<string, string>()
  for (const { key, value, place } of lines)
    for (const item of splitItems(value)) {
      const file = place.slice(0, place.lastIndexOf(':'))
      const before = places.get(`${key} ${item}`)
      if (before?.startsWith(`${file}:`) !== true) places.set(`${key} ${item}`, place)
    }
  return places
}

function takeLine(profile: Profile, { key, value, place }: ConfigLine): void {
  const wrong: Wrong = (problem, item) => {
    const at = item === undefined ? place : placeOf(profile, key, item)
    profile.problems.push(`${at}: ${key}: ${problem}`)
  }
  const items = splitItems(value)
  switch (key) {
    case 'help':
      profile.help = value
      return
    case 'trigger':
      for (const item of items) {
        const trigger = parseTrigger(item)
        if (trigger === undefined) wrong(`"${item}" should be ${PROFILE_KEYS.trigger}`, item)
        else profile.triggers.push(trigger)
      }
      return
    case 'conflicts':
    case 'depends':
      for (const item of items) if (!PROFILE_NAME.test(item)) wrong(`"${item}" is no name of a profile`, item)
      profile[key] = items
      return
    case 'env_set':
    case 'env_prepend':
    case 'env_append':
    case 'env_unset':
    case 'env_keep':
      for (const item of items) takeVariable(profile, key.slice('env_'.length), item, wrong)
      return
    case 'bind':
      profile.binds = items
      return
    case 'copy':
      for (const item of items)
        if (!/^\/[^:]*:\/[^:]*$/.test(item)) wrong(`"${item}" should be /SRC:/DST`, item)
      profile.copies = items
      return
    case 'devices':
      for (const item of items)
        if (!/^(\/dev\/\S+|[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=[A-Za-z0-9][\w.:-]*)$/.test(item))
          wrong(`"${item}" should be VENDOR/CLASS=NAME or /dev/PATH`, item)
      profile.devices = items
      return
    case 'ld_path':
      profile.ldPath = absolute(items, wrong)
      return
    case 'hooks':
      profile.hooks = absolute(items, wrong)
      return
    case 'mpi':
      profile.mpi = absolute([value], wrong)[0] ?? ''
      return
    case 'mpi_family':
      if (isFamily(value)) profile.mpiFamily = value
      else wrong(`"${value}" should be ${MPI_FAMILIES.join(', ')}`)
      return
    default:
      wrong('unknown key')
  }
}

function takeVariable(profile: Profile, action: string, item: string, wrong: Wrong): void {
  const equals = item.indexOf('=')
  const name = equals < 0 ? item : item.slice(0, equals)
  const alone = action === 'unset' || action === 'keep'
  if (!VARIABLE.test(name) || alone !== equals < 0)
    wrong(`"${item}" should be ${alone ? 'NAME' : 'NAME=VALUE'}`, item)
  else
    profile.env.push({
      action: action as ProfileVariable['action'],
      name,
      value: alone ? '' : item.slice(equals + 1),
    })
}

function parseTrigger(text: string): Trigger | undefined {
  const match = TRIGGER.exec(text)
  if (match === null) return undefined
  const [, whole, kind, name = '', value, path] = match
  if (whole === 'always') return { kind: 'always' }
  if (path !== undefined) return { kind: 'host', path }
  if (kind !== 'env' && kind !== 'label' && kind !== 'annotation') return undefined
  if (kind === 'env' && !VARIABLE.test(name)) return undefined
  return { kind, name, ...(value === undefined ? {} : { value }) }
}

function isFamily(word: string): word is MpiFamily {
  return (MPI_FAMILIES as readonly string[]).includes(word)
}

function absolute(items: string[], wrong: Wrong): string[] {
  for (const item of items) if (!item.startsWith('/')) wrong(`"${item}" should be an absolute path`, item)
  return items
}

/** Commas separate; a backslash before a comma makes it part of the item. */
function splitItems(text: string): string[] {
  return text
    .split(/(?<!\\),/)
    .map((item) => item.trim().replaceAll('\\,', ','))
    .filter((item) => item !== '')
}
