// SPDX-License-Identifier: Apache-2.0
/**
 * The node's MPI in place of the image's: bound over the image's own files, so that RPATH and LD_LIBRARY_PATH lead to it
 * too. What it needs and the image lacks is shown below HOST_DIR, where only the loader's cache leads, name by name:
 * nothing else of the node's is found by anybody (docs/decisions/0021-mpi-from-the-node.md).
 */
import { dirname } from 'node:path'
import type { ImageFacts, ImageMpi, MpiFamily } from '../image/facts.js'
import { BerthError } from '../report/errors.js'
import type { HostLibrary, HostMpi } from './host.js'
import type { PlanInput } from './input.js'
import type { LoaderEntry } from './loader_cache.js'
import { besideKept, type Fit, fitMpi, unusedLosses } from './mpi_fit.js'
import { keptBy, type MpiKept, remediesOf } from './mpi_kept.js'
import { mpiMode, mpiOrigin } from './mpi_mode.js'
import { keepsOpenMpi, planPlaces } from './open_mpi.js'
import type { HookupEdits, PlannedMount } from './spec.js'

/** The node's directories, each at its own path below. */
const HOST_DIR = '/.berth/host'
const FAMILIES: Readonly<Record<MpiFamily, string>> = {
  mpich: 'MPICH',
  openmpi: 'Open MPI',
  abi: "MPI's standard ABI",
}

/** @throws BerthError BERTH_EMPI: the user asked for the node's MPI, and it cannot be had */
export function planMpi(input: PlanInput): Partial<HookupEdits> {
  const mode = mpiMode(input)
  const { facts, stored } = input.image
  if (mode === 'off' || mode === 'image') {
    const kept = mode === 'image' ? "the image's own is kept" : "nothing of the node's is added"
    return { notes: [note(`${kept}, as ${mpiOrigin(input)} says`)] }
  }
  if (facts === undefined || stored === undefined) return {}
  const problems = (input.host?.problems ?? []).map(note)
  if (facts.mpi.length === 0) {
    const why = facts.truncated
      ? 'no MPI was found in what could be read of the image'
      : 'the image has no MPI library'
    if (mode === 'host') throw cannot(input, [keptBy('no-mpi', why)])
    return { notes: [...problems, note(why)], kept: [{ code: 'no-mpi', note: note(why) }] }
  }
  const decisions = decideAll(input, facts)
  const taken = decisions.flatMap((one) => (one.kept === undefined ? [{ ...one.fit, host: one.host }] : []))
  if (mode === 'host' && taken.length === 0)
    throw cannot(
      input,
      decisions.flatMap(({ kept }) => kept ?? []),
    )
  return {
    mounts: mountsOf(input, taken),
    loader: entriesOf(facts, taken),
    variables: taken.some(({ host }) => host.open !== undefined)
      ? planPlaces(input, { reason: "places of the image's Open MPI", origin: mpiOrigin(input) })
      : [],
    notes: [...problems, ...decisions.flatMap(explain)],
    kept: decisions.flatMap((one) =>
      one.kept === undefined ? [] : explain(one).map((text) => ({ code: one.kept.code, note: text })),
    ),
  }
}

/** Of one MPI of the image: what takes its place, or why it is kept. */
type Decision = { wanted: ImageMpi } & (
  | { fit: Fit; host: HostMpi; kept?: never }
  | { kept: MpiKept; fit?: never }
)

function decideAll(input: PlanInput, facts: ImageFacts): Decision[] {
  const decisions = keepOpenMpiWhole(facts.mpi.map((wanted) => decide(input, facts, wanted)))
  if (decisions.every(({ kept }) => kept === undefined)) return decisions
  return decisions.map((one) =>
    one.kept === undefined ? { ...one, fit: besideKept(facts, one.fit, one.host) } : one,
  )
}

/** Two of an image may read the same modules and PMIx: those that are kept need theirs. */
function keepOpenMpiWhole(decisions: Decision[]): Decision[] {
  const open = decisions.filter(({ wanted }) => wanted.family === 'openmpi')
  const stays = open.find(({ kept }) => kept !== undefined)
  if (stays === undefined) return decisions
  const kept = keptBy('another-kept', `another Open MPI of the image is kept (${mainOf(stays.wanted)})`)
  return decisions.map((one) =>
    one.kept === undefined && open.includes(one) ? { wanted: one.wanted, kept } : one,
  )
}

type Taken = Fit & { host: HostMpi }

function decide(input: PlanInput, facts: ImageFacts, wanted: ImageMpi): Decision {
  const { family, major } = wanted
  const kin = (input.host?.mpi ?? []).filter((host) => host.family === family)
  if (kin.length === 0) return { wanted, kept: keptBy('no-family', `this node has no ${FAMILIES[family]}`) }
  let misfit: MpiKept | undefined
  for (const host of kin.filter((one) => one.major === major)) {
    const kept = family === 'openmpi' ? keepsOpenMpi(host, mpiMode(input)) : undefined
    if (kept !== undefined) return { wanted, kept }
    const fit = fitMpi(facts, wanted, host)
    if (!('code' in fit)) return { wanted, fit, host }
    misfit ??= keptBy(fit.code, `the node's ${main(host)} does not fit: ${fit.why}`)
  }
  const abis = kin.map((host) => host.major).join(', ')
  const other = `the node's ${FAMILIES[family]} has ABI ${abis}, the image's ${major}`
  return { wanted, kept: misfit ?? keptBy('abi', other) }
}

/** One line where it is kept. */
function explain(decision: Decision): string[] {
  const { wanted } = decision
  const what = `the image's ${FAMILIES[wanted.family]} (${mainOf(wanted)})`
  if (decision.kept !== undefined) return [note(`${what} is kept: ${decision.kept.why}`)]
  const { fit, host } = decision
  const more = [...fit.additions.keys(), ...(host.open?.directories ?? [])].sort()
  const with_ = more.length === 0 ? '' : `, with ${more.join(' ')}`
  const lost = unusedLosses(wanted, fit)
  const example = lost.slice(0, 3).join(', ')
  return [
    note(`${what} is replaced by the node's ${main(host)} (${host.origin})${with_}`),
    ...(lost.length === 0
      ? []
      : [
          note(
            `${lost.length} functions of the image's MPI are not in the node's, and nothing in the image uses them: ${example}, …`,
          ),
        ]),
  ]
}

function mainOf({ libraries }: ImageMpi): string {
  return libraries.find(({ role }) => role === 'c')?.path ?? ''
}

function main({ libraries }: HostMpi): string {
  return libraries.c?.path ?? ''
}

function mountsOf(input: PlanInput, fits: readonly Taken[]): PlannedMount[] {
  const origin = mpiOrigin(input)
  const bind = (source: string, target: string, kind: 'file' | 'dir', reason: string): PlannedMount => ({
    ...{ kind: 'bind', source, target, flags: ['ro', 'nosuid', 'nodev'], recursive: false, create: kind },
    ...{ trusted: true, optional: false, replaceLink: false, reason, origin },
  })
  const replaced = fits.flatMap(({ replacements }) => replacements)
  const additions = fits.flatMap((fit) => [...fit.additions.values()])
  const directories = [...new Set(additions.map(({ path }) => dirname(path)))].sort()
  const own = [...new Set(fits.flatMap(({ host }) => host.open?.directories ?? []))]
  return [
    ...replaced.map(({ image, host }) =>
      bind(host.path, image.path, 'file', "the node's MPI over the image's"),
    ),
    ...directories.map((path) =>
      bind(path, `${HOST_DIR}${path}`, 'dir', "libraries that the node's MPI needs"),
    ),
    ...own.map((path) => bind(path, path, 'dir', "what the node's Open MPI reads at its own paths")),
  ]
}

function entriesOf({ cache: own = [] }: ImageFacts, fits: readonly Fit[]): LoaderEntry[] {
  return fits.flatMap(({ additions, replacements }) => [
    ...[...additions].map(([name, library]) => ({ name, path: inside(library) })),
    // Bindings of the node ask for the C library by its name there, which need not be the image's.
    ...replacements.flatMap(({ image, host }) =>
      own.some(({ name }) => name === host.soname) ? [] : [{ name: host.soname, path: image.path }],
    ),
  ])
}

function inside({ path }: HostLibrary): string {
  return `${HOST_DIR}${path}`
}

function note(text: string): string {
  return `mpi: ${text}`
}

function cannot(input: PlanInput, kept: readonly MpiKept[]): BerthError {
  return new BerthError('BERTH_EMPI', {
    image: input.image.reference,
    problem: kept.map(({ why }) => why).join('; '),
    next: remediesOf(kept) || '`berth doctor mpi` tells what the node has',
    origin: mpiOrigin(input),
  })
}
