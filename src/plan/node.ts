// SPDX-License-Identifier: Apache-2.0
/** What the site's profiles, the node's devices and its fabric add: in this order, each knowing what came before. */
import { type ChosenDevice, planDevices } from './cdi.js'
import { addedLibraries, planLibraries } from './device_libraries.js'
import { planFabric } from './fabric.js'
import { countOf, GPU_DEVICES, planGpus } from './gpu.js'
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import { planMasks } from './masks.js'
import { planNvidia } from './nvidia.js'
import { countMig, planNvidiaNodes } from './nvidia_nodes.js'
import { planProfiles } from './profiles.js'
import type { HookupEdits } from './spec.js'
import { VariableEdits } from './variables.js'

/** @throws BERTH_EPROFILE, BERTH_EDEVICE, BERTH_EGPU */
export function planNode(input: PlanInput): Partial<HookupEdits> {
  const variables = new VariableEdits(input)
  const profiles = planProfiles(input, variables)
  const gpus = planGpus(input)
  const devices = planDevices(input, [...askedDevices(input), ...profiles.devices, ...gpus.devices])
  variables.take(devices.variables)
  const why = { reason: 'libraries of devices', origin: BERTH_DEFAULT }
  const libraries = planLibraries(input, addedLibraries(devices.mounts, devices.directories), variables, why)
  const driver = input.host?.accelerators?.nvidia
  const nvidia =
    gpus.nvidia && driver !== undefined
      ? planNvidia(input, driver, variables, gpus)
      : { loader: [], mounts: [], notes: [] }
  const nodes = gpus.nvidia ? planNvidiaNodes(input, gpus) : { mounts: [], warnings: [], notes: [] }
  const parts = [profiles, devices, libraries, gpus, nvidia, nodes, planFabric(input)]
  return {
    mounts: parts.flatMap((part) => ('mounts' in part ? (part.mounts ?? []) : [])),
    loader: [...libraries.loader, ...nvidia.loader],
    hooks: [...profiles.hooks, ...devices.hooks],
    warnings: [...nodes.warnings, ...maskWarnings(input, variables)],
    notes: parts.flatMap(({ notes = [] }) => notes),
    variables: variables.list(),
  }
}

function askedDevices({ request }: PlanInput): ChosenDevice[] {
  const origin = originOf(request, 'container-device', 'flag --container-device')
  return request.devices.map((name) => ({ name, reason: 'device', origin }))
}

function maskWarnings(input: PlanInput, variables: VariableEdits): string[] {
  const facts = input.host?.accelerators
  if (facts === undefined) return []
  const counts = {
    nvidia: countOf(facts, GPU_DEVICES.nvidia),
    amd: countOf(facts, GPU_DEVICES.amd),
    mig: countMig(facts),
  }
  return planMasks(input, counts, variables)
}
