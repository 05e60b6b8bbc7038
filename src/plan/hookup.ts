// SPDX-License-Identifier: Apache-2.0
/**
 * What the node adds to every image: process managers, MPI, fabric, accelerators. Each contributor is a pure function
 * of the plan's input; its edits go between berth's own mounts and the user's, so that a user can always undo one.
 */
import type { PlanInput } from './input.js'
import { planLoaderCache } from './loader_cache.js'
import { planMpi } from './mpi.js'
import { planNode } from './node.js'
import { planPmi } from './pmi.js'
import type { HookupEdits } from './spec.js'

type Contributor = (input: PlanInput) => Partial<HookupEdits>

/** In the order in which their mounts are made. */
const CONTRIBUTORS: readonly Contributor[] = [planPmi, planMpi, planNode]

/** @throws BerthError where the user asked for something that this node cannot give */
export function planHookup(input: PlanInput): HookupEdits {
  const parts = CONTRIBUTORS.map((contribute) => contribute(input))
  const loader = parts.flatMap((part) => part.loader ?? [])
  return {
    mounts: [...parts.flatMap(({ mounts = [] }) => mounts), ...planLoaderCache(input, loader)],
    loader,
    hooks: parts.flatMap(({ hooks = [] }) => hooks),
    variables: parts.flatMap(({ variables = [] }) => variables),
    warnings: parts.flatMap(({ warnings = [] }) => warnings),
    notes: parts.flatMap(({ notes = [] }) => notes),
    kept: parts.flatMap(({ kept = [] }) => kept),
  }
}
