// SPDX-License-Identifier: Apache-2.0
/** The image config (OCI image-spec config.md): checked, bounded, reduced to what a start needs; pure. */
import type { ImageConfig } from './image.js'
import { isObject, parseJson, refuse, takeStrings, textOf } from './manifest.js'

/** Linux' own bound on one string of the environment is 128 KiB; a whole one of that size is none we know of. */
const STRINGS_BYTES_MAX = 256 << 10
const STRINGS_MAX = 4096
/** Labels are for display: build tools put whole bills of materials there, which nobody needs on a node. */
const LABEL_BYTES_MAX = 16 << 10
const LABELS_BYTES_MAX = 64 << 10
/** Each is a directory to be looked for at every start; images have a few. */
export const VOLUMES_MAX = 64
const DIFF_ID = /^sha256:[0-9a-f]{64}$/

/** Of a root file system that nobody described. */
export const EMPTY_CONFIG: ImageConfig = {
  ...{ env: [], entrypoint: [], cmd: [], workdir: '', user: '', labels: {}, architecture: '' },
}

export interface ParsedConfig {
  config: ImageConfig
  os: string
  variant: string
  diffIds: string[]
}

/** @throws BerthError BERTH_EMANIFEST */
export function parseConfig(bytes: Uint8Array, layers: number): ParsedConfig {
  const json = parseJson(bytes, 'config')
  const inner = isObject(json.config) ? json.config : {}
  const rootfs = isObject(json.rootfs) ? json.rootfs : {}
  const diffIds = takeList(rootfs.diff_ids, 'diff_ids')
  if (diffIds.length !== layers) refuse(`it has ${layers} layers, but its config knows ${diffIds.length}`)
  if (!diffIds.every((id) => DIFF_ID.test(id)))
    refuse('its config names layers by something else than sha256')
  const env = takeList(inner.Env, 'Env').filter((entry) => entry.indexOf('=') > 0)
  const config: ImageConfig = {
    env,
    entrypoint: takeList(inner.Entrypoint, 'Entrypoint'),
    cmd: takeList(inner.Cmd, 'Cmd'),
    workdir: takeText(inner.WorkingDir, 'WorkingDir'),
    user: takeText(inner.User, 'User'),
    labels: takeLabels(inner.Labels),
    architecture: textOf(json.architecture).slice(0, 64),
    ...takeVolumes(inner.Volumes),
  }
  return { config, os: textOf(json.os), variant: textOf(json.variant), diffIds }
}

function takeList(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return []
  // Docker once wrote a shell line as a plain string.
  const list = typeof value === 'string' ? ['/bin/sh', '-c', value] : value
  if (!Array.isArray(list) || list.length > STRINGS_MAX) refuse(`its config has a malformed ${what}`)
  let size = 0
  for (const entry of list) {
    if (typeof entry !== 'string' || entry.includes('\0')) refuse(`its config has a malformed ${what}`)
    size += entry.length
  }
  if (size > STRINGS_BYTES_MAX) refuse(`its config has a ${what} of over ${STRINGS_BYTES_MAX >> 10} KiB`)
  return list
}

/** An object whose values say nothing. */
function takeVolumes(value: unknown): Pick<ImageConfig, 'volumes'> {
  const paths = isObject(value) ? takeList(Object.keys(value), 'Volumes') : []
  const volumes = paths.filter((path) => path.startsWith('/')).slice(0, VOLUMES_MAX)
  return volumes.length === 0 ? {} : { volumes }
}

function takeText(value: unknown, what: string): string {
  const text = textOf(value)
  if (text.includes('\0') || text.length > 4096) refuse(`its config has a malformed ${what}`)
  return text
}

function takeLabels(value: unknown): Record<string, string> {
  const kept: Record<string, string> = {}
  let size = 0
  for (const [name, text] of Object.entries(takeStrings(value))) {
    const length = name.length + text.length
    if (length > LABEL_BYTES_MAX || size + length > LABELS_BYTES_MAX) continue
    size += length
    kept[name] = text
  }
  return kept
}
