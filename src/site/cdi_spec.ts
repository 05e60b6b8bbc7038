// SPDX-License-Identifier: Apache-2.0
/**
 * One file of the Container Device Interface, 1.1.0 (cncf-tags/container-device-interface, SPEC.md and schema): what a
 * vendor says a container needs for its devices. Strict, as the specification wants: an unknown field, or one that is
 * younger than the file's own version, makes the whole file unusable.
 */
import { isAbsolute } from 'node:path'
import { Part, parseDocument } from './document.js'

export interface CdiDeviceNode {
  /** In the container. */
  path: string
  hostPath: string
  type?: string
  major?: number
  minor?: number
  /** rwm letters. */
  permissions?: string
  /** uid, gid and fileMode were given. */
  owned: boolean
}

export interface CdiMount {
  hostPath: string
  containerPath: string
  type: string
  options: string[]
}

export interface CdiHook {
  hookName: string
  path: string
  args: string[]
  env: string[]
  /** Seconds. */
  timeout?: number
}

export interface CdiEdits {
  env: string[]
  deviceNodes: CdiDeviceNode[]
  mounts: CdiMount[]
  hooks: CdiHook[]
  additionalGids: number[]
  intelRdt: boolean
  netDevices: { host: string; name: string }[]
}

export interface CdiDevice {
  name: string
  edits: CdiEdits
}

export interface CdiSpec {
  version: string
  /** vendor.com/class */
  kind: string
  devices: CdiDevice[]
  /** Made once, whichever of the devices is used. */
  edits: CdiEdits
}

const VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0']
/** The release that a field came with. */
const SINCE = { mountType: '0.4.0', hostPath: '0.5.0', digitName: '0.5.0', annotations: '0.6.0' } as const
const SINCE_LATER = {
  dottedClass: '0.6.0',
  rdt: '0.7.0',
  gids: '0.7.0',
  net: '1.1.0',
  schemata: '1.1.0',
} as const
const VENDOR = /^[A-Za-z]([\w.-]{0,251}[A-Za-z0-9])?$/
const CLASS = /^[A-Za-z]([\w.-]{0,61}[A-Za-z0-9])?$/
const NAME = /^[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?$/
const HOOK_NAMES = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop']
const NODE_TYPES = ['b', 'c', 'u', 'p']

/** @throws DocumentProblem: file cannot be used, with the field in its message */
export function parseCdi(file: string, text: string): CdiSpec {
  const root = parseDocument(file, text)
  const version = root.text('cdiVersion')
  if (!VERSIONS.includes(version))
    throw root.problem('cdiVersion', `unknown version ${JSON.stringify(version)}`)
  const reader = new Reader(version)
  const kind = root.text('kind')
  const [vendor = '', name = '', more] = kind.split('/')
  if (more !== undefined || !VENDOR.test(vendor) || !CLASS.test(name))
    throw root.problem('kind', `should be vendor.com/class: ${JSON.stringify(kind.slice(0, 80))}`)
  if (name.includes('.')) reader.needs(root, 'kind', SINCE_LATER.dottedClass)
  reader.annotations(root)
  const devices = root.parts('devices').map((part) => reader.device(part))
  if (devices.length === 0) throw root.problem('devices', 'none in it')
  const twice = devices.find(
    (device, index) => devices.findIndex((one) => one.name === device.name) !== index,
  )
  if (twice !== undefined) throw root.problem('devices', `${twice.name} is there twice`)
  const edits = reader.edits(root)
  root.finish()
  return { version, kind, devices, edits }
}

class Reader {
  constructor(private readonly version: string) {}

  needs(part: Part, key: string, since: string): void {
    if (VERSIONS.indexOf(since) > VERSIONS.indexOf(this.version))
      throw part.problem(key, `needs cdiVersion ${since} or later, the file says ${this.version}`)
  }

  annotations(part: Part): void {
    if (Object.keys(part.map('annotations')).length > 0) this.needs(part, 'annotations', SINCE.annotations)
  }

  device(part: Part): CdiDevice {
    const name = part.text('name')
    if (!NAME.test(name))
      throw part.problem('name', `no name of a device: ${JSON.stringify(name.slice(0, 80))}`)
    if (!/^[A-Za-z]/.test(name)) this.needs(part, 'name', SINCE.digitName)
    this.annotations(part)
    const edits = this.edits(part)
    if (isEmpty(edits)) throw part.problem('containerEdits', 'a device without edits')
    part.finish()
    return { name, edits }
  }

  edits(owner: Part): CdiEdits {
    const part = owner.part('containerEdits') ?? new Part({}, owner.place('containerEdits'))
    const edits: CdiEdits = {
      env: part.texts('env').map((entry) => checkVariable(part, entry)),
      deviceNodes: part.parts('deviceNodes').map((node) => this.node(node)),
      mounts: part.parts('mounts').map((mount) => this.mount(mount)),
      hooks: part.parts('hooks').map(readHook),
      additionalGids: part.counts('additionalGids').filter((gid) => gid !== 0),
      intelRdt: this.rdt(part),
      netDevices: part.parts('netDevices').map(readNetDevice),
    }
    if (edits.additionalGids.length > 0) this.needs(part, 'additionalGids', SINCE_LATER.gids)
    if (edits.netDevices.length > 0) this.needs(part, 'netDevices', SINCE_LATER.net)
    part.finish()
    return edits
  }

  private node(part: Part): CdiDeviceNode {
    const path = absolute(part, 'path')
    if (part.has('hostPath')) this.needs(part, 'hostPath', SINCE.hostPath)
    const hostPath = part.has('hostPath') ? absolute(part, 'hostPath') : path
    const type = part.optionalText('type') ?? ''
    if (type !== '' && !NODE_TYPES.includes(type))
      throw part.problem('type', `should be ${NODE_TYPES.join(', ')}`)
    const permissions = part.optionalText('permissions')
    if (permissions !== undefined && !/^([rwm]{0,3}|none)$/.test(permissions))
      throw part.problem('permissions', 'should be letters of rwm')
    const [major, minor] = [part.count('major'), part.count('minor')]
    const owner = [part.count('uid'), part.count('gid'), part.count('fileMode')]
    part.finish()
    return {
      ...{ path, hostPath, owned: owner.some((one) => one !== undefined) },
      ...(type === '' ? {} : { type }),
      ...(permissions === undefined ? {} : { permissions }),
      ...(major === undefined ? {} : { major }),
      ...(minor === undefined ? {} : { minor }),
    }
  }

  private mount(part: Part): CdiMount {
    const type = part.optionalText('type') ?? ''
    if (type !== '') this.needs(part, 'type', SINCE.mountType)
    const hostPath = type === 'tmpfs' ? part.text('hostPath') : absolute(part, 'hostPath')
    const mount = {
      hostPath,
      containerPath: absolute(part, 'containerPath'),
      type,
      options: part.texts('options'),
    }
    part.finish()
    return mount
  }

  /** Read for its errors: berth never sets it. */
  private rdt(edits: Part): boolean {
    const part = edits.part('intelRdt')
    if (part === undefined) return false
    this.needs(edits, 'intelRdt', SINCE_LATER.rdt)
    for (const key of ['closID', 'l3CacheSchema', 'memBwSchema']) part.optionalText(key)
    for (const key of ['enableCMT', 'enableMBM'])
      if (part.flag(key) !== undefined && this.version === '1.1.0')
        throw part.problem(key, 'is not of cdiVersion 1.1.0')
    if (part.flag('enableMonitoring') !== undefined)
      this.needs(part, 'enableMonitoring', SINCE_LATER.schemata)
    if (part.texts('schemata').length > 0) this.needs(part, 'schemata', SINCE_LATER.schemata)
    part.finish()
    return true
  }
}

function isEmpty(edits: CdiEdits): boolean {
  const lists = [
    edits.env,
    edits.deviceNodes,
    edits.mounts,
    edits.hooks,
    edits.additionalGids,
    edits.netDevices,
  ]
  return lists.every((list) => list.length === 0) && !edits.intelRdt
}

function readHook(part: Part): CdiHook {
  const hookName = part.text('hookName')
  if (!HOOK_NAMES.includes(hookName)) throw part.problem('hookName', `should be ${HOOK_NAMES.join(', ')}`)
  const env = part.texts('env').map((entry) => checkVariable(part, entry))
  const timeout = part.count('timeout')
  const hook = { hookName, path: absolute(part, 'path'), args: part.texts('args'), env }
  part.finish()
  return timeout === undefined ? hook : { ...hook, timeout }
}

function readNetDevice(part: Part): { host: string; name: string } {
  const device = { host: part.text('hostInterfaceName'), name: part.text('name') }
  part.finish()
  return device
}

function checkVariable(part: Part, entry: string): string {
  if (entry.indexOf('=') > 0 && !entry.includes('\0')) return entry
  throw part.problem('env', `should be NAME=VALUE: ${JSON.stringify(entry.slice(0, 80))}`)
}

function absolute(part: Part, key: string): string {
  const path = part.text(key)
  if (!isAbsolute(path) || path.includes('\0')) throw part.problem(key, 'should be an absolute path')
  return path
}
