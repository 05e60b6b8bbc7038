// SPDX-License-Identifier: Apache-2.0
/** All profiles of a site: shipped ones, those of podman-hpc modules over them, those of its own files over both. */
import { type ConfigLine, readLines } from './config_file.js'
import { readModules } from './podman_hpc.js'
import { type Profile, parseProfile, placeOf, type Trigger } from './profile.js'
import { SHIPPED_PROFILES } from './profiles_shipped.js'

export interface ProfileSet {
  byName: ReadonlyMap<string, Profile>
  /** Of all of them, each with its place; none of it keeps a step from running that uses none of these. */
  problems: readonly string[]
  /** Names of annotations that triggers look at. */
  annotations: ReadonlySet<string>
  /** Names of a job's variables that triggers and values mention: the worker keeps them. */
  variables: ReadonlySet<string>
}

const SHIPPED_PLACE = 'shipped with berth'
const MENTION = /\$\{?([A-Za-z_][A-Za-z0-9_]*)/g

/** @param lines those of sections [profile NAME]; @param modules a directory of podman-hpc modules, '' for none */
export function readProfiles(lines: readonly ConfigLine[], modules: string): ProfileSet {
  const byName = new Map<string, Profile>()
  const add = (profiles: Iterable<Profile>): void => {
    for (const profile of profiles) byName.set(profile.name, profile)
  }
  add(shipped())
  add(modules === '' ? [] : readModules(modules))
  add(sections(lines))
  const profiles = [...byName.values()]
  for (const profile of profiles) checkNames(profile, byName)
  return {
    byName,
    problems: profiles.flatMap(({ problems }) => problems),
    annotations: new Set(profiles.flatMap(({ triggers }) => triggers.flatMap(annotationOf))),
    variables: new Set(profiles.flatMap(variablesOf)),
  }
}

function* sections(lines: readonly ConfigLine[]): Iterable<Profile> {
  const byName = new Map<string, ConfigLine[]>()
  for (const line of lines) {
    const name = line.profile ?? ''
    byName.set(name, [...(byName.get(name) ?? []), line])
  }
  for (const [name, own] of byName)
    yield parseProfile(
      name,
      own[0]?.place ?? '',
      own.filter(({ key }) => key !== ''),
    )
}

let builtIn: Profile[] | undefined

function shipped(): Profile[] {
  builtIn ??= [...sections(readLines(SHIPPED_PLACE, SHIPPED_PROFILES, []))].map((profile) => ({
    ...profile,
    place: SHIPPED_PLACE,
    places: new Map(),
  }))
  return builtIn
}

function checkNames(profile: Profile, byName: ReadonlyMap<string, Profile>): void {
  for (const name of profile.depends)
    if (!byName.has(name))
      profile.problems.push(`${placeOf(profile, 'depends', name)}: depends: there is no profile ${name}`)
}

function annotationOf(trigger: Trigger): string[] {
  return trigger.kind === 'annotation' ? [trigger.name] : []
}

function variablesOf({ triggers, binds, copies, env }: Profile): string[] {
  const texts = [...binds, ...copies, ...env.map(({ value }) => value)]
  return [
    ...triggers.flatMap((trigger) => (trigger.kind === 'env' ? [trigger.name] : [])),
    ...texts.flatMap((text) => [...text.matchAll(MENTION)].map((match) => match[1] ?? '')),
    ...env.filter(({ action }) => action !== 'set' && action !== 'unset').map(({ name }) => name),
  ]
}
