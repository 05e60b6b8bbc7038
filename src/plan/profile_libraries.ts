// SPDX-License-Identifier: Apache-2.0
/**
 * Libraries that a profile brings into a directory of its ld_path. The loader takes the first of a name and gives up if it
 * cannot load it: one for a newer glibc would break each program of the image that has a library of that name itself.
 */
import { posix } from 'node:path'
import type { Profile } from '../site/profile.js'
import { LIBRARY, misfitOf } from './device_libraries.js'
import type { PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

interface LoadableEdits {
  mounts: PlannedMount[]
  /** Without those of which nothing is left. */
  ldPath: string[]
  /** What was left out, and why; undefined: nothing. */
  note?: string
}

type Library = PlannedMount & { kind: 'bind' }

/** @param mounts of the profile; directories that are mounted as a whole are not looked into */
export function keepLoadable(
  input: PlanInput,
  { name, ldPath }: Profile,
  mounts: readonly PlannedMount[],
): LoadableEdits {
  const isLibrary = (mount: PlannedMount): mount is Library =>
    mount.kind === 'bind' && LIBRARY.test(mount.target) && ldPath.includes(posix.dirname(mount.target))
  const misfits = mounts.filter(isLibrary).filter(({ source }) => misfit(input, [source]) !== undefined)
  if (misfits.length === 0) return { mounts: [...mounts], ldPath }
  const left = mounts.filter((mount) => !misfits.some((one) => one === mount))
  const isEmptied = (directory: string) =>
    misfits.some(({ target }) => posix.dirname(target) === directory) &&
    !left.some(({ target }) => target.startsWith(`${directory}/`))
  const why = misfit(
    input,
    misfits.map(({ source }) => source),
  )
  return {
    mounts: left,
    ldPath: ldPath.filter((directory) => !isEmptied(directory)),
    note: `profile ${name}: ${why}: left out`,
  }
}

function misfit(input: PlanInput, sources: readonly string[]): string | undefined {
  const needs = input.host?.accelerators?.needs
  if (input.image.facts?.libc.kind !== 'musl') return misfitOf(input, sources)
  const names = sources
    .filter((one) => (needs?.get(one)?.glibc ?? '') !== '')
    .map((one) => posix.basename(one))
  return names.length === 0 ? undefined : `${names.join(', ')}: for glibc, and the image is built on musl`
}
