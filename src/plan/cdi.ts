// SPDX-License-Identifier: Apache-2.0
/**
 * Devices by name: --container-device=VENDOR/CLASS=NAME from CDI files (docs/decisions/0022-devices.md), and /dev/PATH
 * as it is. A device is given only where the step's cgroup lets it be opened; nothing here adds rights.
 */
import { BerthError } from '../report/errors.js'
import type { CdiEntry } from '../site/cdi.js'
import type { CdiDeviceNode, CdiEdits, CdiSpec } from '../site/cdi_spec.js'
import type { AcceleratorFacts } from './accelerators.js'
import { devicesOfKind } from './cdi_all.js'
import { planCdiHook } from './cdi_hooks.js'
import { planCdiMount } from './cdi_mount.js'
import { insideRoot } from './cwd.js'
import { addedLibraries, misfitOfAll } from './device_libraries.js'
import { bindNode } from './device_node.js'
import { planHook, showHook } from './hooks.js'
import type { PlanInput } from './input.js'
import type { PlannedHook, PlannedMount, PlannedVariable, Reason } from './spec.js'

export interface ChosenDevice extends Reason {
  /** vendor.com/class=name or /dev/PATH. */
  name: string
  /** Nobody asked for it by name: what cannot be had is told, and fails nothing. */
  automatic?: boolean
  /** One of a kind that was asked for as a whole: what other steps have is told, and fails nothing. */
  one?: true
}

interface DeviceEdits {
  mounts: PlannedMount[]
  variables: PlannedVariable[]
  notes: string[]
  /** Of the container, that its loader must search. */
  directories: string[]
  hooks: PlannedHook[]
}

/** @throws BERTH_EDEVICE for a device that was asked for and cannot be given */
export function planDevices(input: PlanInput, chosen: readonly ChosenDevice[]): DeviceEdits {
  const edits: DeviceEdits = { mounts: [], variables: [], notes: [], directories: [], hooks: [] }
  const begun = new Set<CdiSpec>()
  for (const device of chosen.flatMap((one) => membersOf(input, one))) {
    try {
      const planner = new DevicePlanner(input, device)
      const part = device.name.startsWith('/') ? planner.plain() : planner.named(begun)
      const taken = new Set(edits.mounts.map(({ target }) => target))
      edits.mounts.push(...part.mounts.filter(({ target }) => !taken.has(target)))
      edits.variables.push(...part.variables)
      edits.notes.push(...part.notes)
      edits.directories.push(...part.directories)
      edits.hooks.push(...part.hooks)
    } catch (error) {
      const isFatal = device.automatic !== true && !(device.one === true && error instanceof NotGiven)
      if (isFatal || !(error instanceof BerthError)) throw error
      edits.notes.push(error.message)
    }
  }
  return edits
}

/** The step's cgroup says no. */
class NotGiven extends BerthError {}

/** Of a kind that is asked for as a whole its devices; one of them must be the step's. */
function membersOf(input: PlanInput, device: ChosenDevice): ChosenDevice[] {
  const facts = input.host?.accelerators
  const names = facts === undefined ? undefined : devicesOfKind(facts.cdi, device.name)
  if (facts === undefined || names === undefined) return [device]
  const isGiven = (name: string): boolean => {
    const nodes = facts.cdi.devices.get(name)?.device.edits.deviceNodes ?? []
    return nodes.length === 0 || nodes.some(({ hostPath }) => facts.nodes.get(hostPath)?.allowed !== false)
  }
  if (!names.some(isGiven)) return [device]
  return names.map((name) => ({ ...device, name, one: true }))
}

class DevicePlanner {
  private readonly part: DeviceEdits = { mounts: [], variables: [], notes: [], directories: [], hooks: [] }
  private readonly facts: AcceleratorFacts | undefined

  constructor(
    private readonly input: PlanInput,
    private readonly device: ChosenDevice,
  ) {
    this.facts = input.host?.accelerators
  }

  /** The host's /dev is inside: the node only has to be there and to be the step's. */
  plain(): DeviceEdits {
    const node = this.facts?.nodes.get(this.device.name)
    if (node === undefined) throw this.problem('is no device of this node')
    if (node.allowed === false) throw this.problem('was not given to this step (its cgroup denies it)')
    return this.part
  }

  named(begun: Set<CdiSpec>): DeviceEdits {
    const entry = this.look()
    const { spec, device, file } = entry
    this.nodes(device.edits.deviceNodes, file, true)
    this.edit(device.edits, entry)
    if (!begun.has(spec)) {
      this.nodes(spec.edits.deviceNodes, file, false)
      this.edit(spec.edits, entry)
      begun.add(spec)
    }
    const misfit = misfitOfAll(this.input, addedLibraries(this.part.mounts, this.part.directories))
    if (misfit !== undefined) throw this.problem(`none of its libraries can be loaded: ${misfit}`)
    return this.part
  }

  private look(): CdiEntry {
    const { name } = this.device
    const catalog = this.facts?.cdi
    const found = catalog?.devices.get(name)
    if (found !== undefined) return found
    const twice = catalog?.conflicts.get(name)
    if (twice !== undefined) throw this.problem(`is in several files: ${twice.join(', ')}`)
    const kin = catalog === undefined ? undefined : devicesOfKind(catalog, name)
    if (kin !== undefined) throw this.problem(`none of ${kin.join(', ')} was given to this step`)
    const broken = (catalog?.problems ?? []).map(({ file, problem }) => `${file}: ${problem}`)
    const hint = broken.length === 0 ? '' : ` (not used: ${broken.join('; ')})`
    throw this.problem(`is in no CDI file of this node${hint}`)
  }

  /** @param own of this device alone: where all of them are denied the device is another step's */
  private nodes(nodes: readonly CdiDeviceNode[], file: string, own: boolean): void {
    const denied = nodes.filter((node) => this.node(node, file) === 'denied').map(({ path }) => path)
    if (denied.length === 0) return
    if (own && denied.length === nodes.length)
      throw new NotGiven('BERTH_EDEVICE', {
        device: this.device.name,
        problem: `was not given to this step (its cgroup denies ${denied.join(', ')})`,
      })
    this.part.notes.push(`${this.device.name}: not given to this step: ${denied.join(', ')}`)
  }

  private node(node: CdiDeviceNode, file: string): 'given' | 'denied' {
    const { path, hostPath, type, major, minor } = node
    const found = this.facts?.nodes.get(hostPath)
    if (found === undefined)
      throw this.problem(`needs ${hostPath}, which is no device of this node (${file})`)
    const same = (asked: number | undefined, is: number) => asked === undefined || asked === is
    const kind = type === 'u' ? 'c' : type
    if ((kind !== undefined && kind !== found.type) || !same(major, found.major) || !same(minor, found.minor))
      throw this.problem(`needs ${hostPath}, which is another device than ${file} says`)
    if (found.allowed === false) return 'denied'
    if (path !== hostPath || !path.startsWith('/dev/'))
      this.part.mounts.push(bindNode(hostPath, path, this.why(file)))
    if (node.owned)
      this.part.notes.push(`${this.device.name}: ${path} keeps the owner and mode that it has on the host`)
    return 'given'
  }

  private edit(edits: CdiEdits, { file }: CdiEntry): void {
    const why = this.why(file)
    const { part } = this
    for (const mount of edits.mounts) {
      const planned = planCdiMount(mount, this.input, why)
      if (planned instanceof Error) throw this.problem(`${planned.message} (${file})`)
      part.mounts.push(planned)
    }
    for (const entry of edits.env) {
      const equals = entry.indexOf('=')
      part.variables.push({
        name: entry.slice(0, equals),
        action: 'set',
        value: entry.slice(equals + 1),
        ...why,
      })
    }
    this.hooks(edits, file, why)
    this.rest(edits)
  }

  private hooks(edits: CdiEdits, file: string, why: Reason): void {
    const hostNames = (directory: string) =>
      edits.mounts
        .filter(({ containerPath }) => insideRoot(`${containerPath}/..`) === directory)
        .flatMap(({ hostPath, containerPath }) => {
          const to = insideRoot(containerPath).slice(directory.length + 1)
          return (this.facts?.links.get(hostPath) ?? [])
            .filter((name) => name !== to)
            .map((name) => ({ name, to }))
        })
    const { site } = this.input
    for (const hook of edits.hooks) {
      const plan = planCdiHook(hook, hostNames, why)
      const taken = new Set(this.part.mounts.map(({ target }) => target))
      this.part.mounts.push(...plan.links.filter(({ target }) => !taken.has(target)))
      this.part.directories.push(...plan.directories)
      this.part.notes.push(...plan.notes.map((note) => `${this.device.name}: ${note}`))
      if (plan.isUnknown !== true) continue
      const words = { ...hook, stage: hook.hookName }
      const planned = planHook(this.input, words, why)
      if (typeof planned !== 'string') {
        this.part.hooks.push(planned)
        continue
      }
      const said = `${showHook(words)} is not run (cdi_hooks, ${site.origin('cdi_hooks')}): ${planned}`
      if (site.get('cdi_hooks') === 'refuse') throw this.problem(`${file}: ${said}`)
      this.part.notes.push(`${this.device.name}: ${said}`)
    }
  }

  private rest(edits: CdiEdits): void {
    const { name } = this.device
    const mine = new Set(this.input.user.groups.map(({ gid }) => gid))
    const foreign = edits.additionalGids.filter((gid) => !mine.has(gid))
    if (foreign.length > 0)
      this.part.notes.push(
        `${name}: groups ${foreign.join(', ')} are not the user's, and a container adds no rights`,
      )
    if (edits.intelRdt) this.part.notes.push(`${name}: intelRdt is left to Slurm`)
    for (const { host, name: inside } of edits.netDevices) {
      if (this.input.request.unshare.includes('net') || host !== inside)
        throw this.problem(`network device ${host} cannot be moved into the container or renamed`)
      this.part.notes.push(`${name}: network device ${host} is there, as all of the job's`)
    }
  }

  private why(file: string): Reason {
    return { reason: `${this.device.reason}: ${this.device.name} of ${file}`, origin: this.device.origin }
  }

  private problem(problem: string): BerthError {
    return new BerthError('BERTH_EDEVICE', { device: this.device.name, problem })
  }
}
