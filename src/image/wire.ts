// SPDX-License-Identifier: Apache-2.0
/**
 * What store and importer say to each other in the DATA field of their frames, as JSON. The store is root and the
 * importer may have been taken over by an image: take…() here checks all that comes back by shape and size.
 *
 *   RESOLVE REF [DIGEST] DATA(ResolveOrder) [fd archive] → RESOLVED DIGEST DATA(Resolved)
 *       before that ASKING NAME(host) DONE(seconds) [EXIT(status of HTTP)]*, while a registry lets us wait
 *       without DIGEST: what the reference names now; with it: the image of this platform below that digest
 *   IMPORT  REF DIGEST DATA(ImportOrder [reuse: ReuseOrder[]]) fd output, fd of each stored image → IMPORTING DONE TOTAL DATA(ImportingData)* then
 *       IMPORTED DATA(Imported) (NAME ARG)*: captured files; DIGEST is what the RESOLVE before answered.
 *       Of a squashfs file, without DIGEST: fd file [fd output], without output it is only asked about itself, and
 *       with `check` in the order read whole: IMPORTED DATA(Imported and sha256)
 *       Among the captured files one named "facts": what facts.ts describes, where the order wants it
 *   OPEN NAME → OPENED fd | FAIL, in between, for the files of an oci: directory
 *   FAIL CODE DATA(fields of the error)
 */
import type { SquashSettings } from '../native.js'
import { BerthError, ERRORS, type ErrorCode, type ErrorFields } from '../report/errors.js'
import { type Fields, type Frame, Tag } from '../worker/frame.js'
import type { CredentialDocument } from './credentials.js'
import type { ImageConfig, StoredImage } from './image.js'
import { isObject } from './manifest.js'

/** Variable of an importer for the file that NODE_EXTRA_CA_CERTS named for the worker. */
export const EXTRA_CERTIFICATES = 'BERTH_EXTRA_CA_CERTS'

export interface ResolveOrder {
  credentials: CredentialDocument[]
  /** Hosts that the site lets be spoken to by plain http. */
  insecure: string[]
  /** HOST=MIRROR[/PREFIX]; in their order. */
  mirrors: string[]
}

export interface ImportOrder extends SquashSettings {
  /** Of a squashfs file without an output: read all of it. */
  check?: true
  /** 'root': all files of the image are root's. */
  owners: 'keep' | 'root'
  /** Whether facts for hookup are wanted too. */
  facts: boolean
  /** Of a SIF: what its signatures must be; absent: nobody asks. */
  signatures?: SignatureOrder
}

export interface SignatureOrder {
  policy: 'check' | 'require'
  /** Where the site has its public keys, for messages. */
  file: string
  /** What is in that file, in base64. */
  keys: string
}

/** Layer `at` of stored image number `image` is layer `layer` of the new one. */
export interface ReuseOrder {
  layer: number
  image: number
  at: number
  /** Only if the registry has the layer for this user. */
  ask: boolean
}

/** What a scrub wants to know of a whole file. */
export interface SquashfsCheck {
  size: number
  sha256: string
}

export interface Resolved {
  /** Everybody may have it: no credential was needed. */
  open: boolean
  /** Compressed bytes of all layers; 0 while only the name is known. */
  bytes: number
  /** Lowest first; none while only the name is known. */
  layers: StoredImage['layers']
}

export interface Asking {
  /** With its port. */
  host: string
  /** Since when it is asked. */
  seconds: number
  /** Of HTTP, where it has answered that it should be asked later. */
  status?: number
}

interface ImportingData {
  /** Layers that have arrived. */
  layer: number
  layers: number
  /** Compressed bytes of layers that need not come. */
  reused: number
}

export interface Imported {
  size: number
  entries: number
  config: ImageConfig
  layers: StoredImage['layers']
  /** Compressed bytes of layers that stored images had; 0: all came, and the file has the layout of such an image. */
  reused: number
  /** Why stored images could not be used after all; ''. */
  problem: string
  /** Of the file, after a check. */
  sha256?: string
  /** Whose signature of a SIF held. */
  signer?: string
}

const TEXT_CHARS_MAX = 8192
const LIST_MAX = 5000
const HOST_CHARS_MAX = 300
const HOST = new RegExp(`^[\\w.:[\\]%?-]{1,${HOST_CHARS_MAX}}$`)
const DIGEST = /^sha256:[0-9a-f]{64}$/

export function takeDigest(frame: Frame): string {
  const digest = frame.text(Tag.DIGEST) ?? ''
  if (!DIGEST.test(digest)) throw malformed('digest')
  return digest
}

export function takeResolved(frame: Frame): Resolved {
  const { open, bytes, layers } = takeData(frame)
  return { open: open === true, bytes: takeCount(bytes), layers: takeLayers(layers) }
}

export function takeImporting(frame: Frame): ImportingData {
  const { layer, layers, reused } = takeData(frame)
  return { layer: takeCount(layer), layers: takeCount(layers), reused: takeCount(reused) }
}

/** As takeAsking() takes it: URL.host may hold more, and a registry may send us anywhere. */
export function plainHost(host: string): string {
  return host.replace(/[^\w.:[\]%-]/g, '?').slice(0, HOST_CHARS_MAX)
}

export function takeAsking(frame: Frame): Asking {
  const host = frame.text(Tag.NAME) ?? ''
  if (!HOST.test(host)) throw malformed('host')
  const status = frame.number(Tag.EXIT)
  return { host, seconds: takeCount(frame.number(Tag.DONE)), ...(status === undefined ? {} : { status }) }
}

export function takeImported(frame: Frame): Imported {
  const { size, entries, config, layers, reused, problem, sha256, signer } = takeData(frame)
  return {
    reused: takeCount(reused),
    problem: takeText(problem),
    size: takeCount(size),
    entries: takeCount(entries),
    config: takeConfig(config),
    layers: takeLayers(layers),
    ...(sha256 === undefined ? {} : { sha256: takeText(sha256) }),
    ...(signer === undefined ? {} : { signer: takeText(signer) }),
  }
}

/** Names of captured files. */
export const PASSWD = 'etc/passwd'
export const GROUP = 'etc/group'

/** The captured file of that name, '' when the image has none. */
export function takeCaptured(frame: Frame, name: string): string {
  const at = frame.texts(Tag.NAME).indexOf(name)
  return at < 0 ? '' : (frame.texts(Tag.ARG)[at] ?? '')
}

export function takeConfig(value: unknown): ImageConfig {
  if (!isObject(value)) throw malformed('config')
  const labels = isObject(value.labels) ? value.labels : {}
  const pairs = Object.entries(labels).map(([name, text]) => [name, takeText(text, LABEL_CHARS_MAX)] as const)
  return {
    env: takeTexts(value.env),
    entrypoint: takeTexts(value.entrypoint),
    cmd: takeTexts(value.cmd),
    workdir: takeText(value.workdir),
    user: takeText(value.user),
    labels: Object.fromEntries(pairs),
    architecture: takeText(value.architecture),
    ...(value.volumes === undefined ? {} : { volumes: takeTexts(value.volumes) }),
    ...(value.script === undefined ? {} : { script: takeText(value.script) }),
  }
}

const LABEL_CHARS_MAX = 16 << 10
/** Bound of config.ts on a whole list. */
const STRING_CHARS_MAX = 256 << 10

export function takeLayers(value: unknown): StoredImage['layers'] {
  if (!Array.isArray(value) || value.length > LIST_MAX) throw malformed('layers')
  return value.map((layer) => {
    if (!isObject(layer)) throw malformed('layers')
    return { digest: takeText(layer.digest), diffId: takeText(layer.diffId), size: takeCount(layer.size) }
  })
}

export function takeCount(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed('number')
  return value
}

export function takeText(value: unknown, chars_max = TEXT_CHARS_MAX): string {
  if (typeof value !== 'string' || value.length > chars_max || value.includes('\0')) throw malformed('text')
  return value
}

export function takeTexts(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > LIST_MAX) throw malformed('list')
  return value.map((text) => takeText(text, STRING_CHARS_MAX))
}

function takeData(frame: Frame): Record<string, unknown> {
  return parseData(frame.text(Tag.DATA) ?? '')
}

/** @throws BerthError BERTH_EIMPORTER */
export function parseData(text: string): Record<string, unknown> {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    throw malformed('JSON')
  }
  if (!isObject(data)) throw malformed('JSON')
  return data
}

export function malformed(what: string): BerthError {
  return new BerthError('BERTH_EIMPORTER', { problem: `sent a malformed ${what}` })
}

/** An error as fields of a FAIL frame. */
export function failFields(error: BerthError): Fields {
  return [
    [Tag.CODE, error.code],
    [Tag.DATA, JSON.stringify(error.fields)],
  ]
}

/** The same error on the other side; texts lose control characters, as they end on a terminal. */
export function takeFail(frame: Frame): BerthError {
  const code = frame.text(Tag.CODE) ?? ''
  if (!Object.hasOwn(ERRORS, code)) return malformed('error')
  const fields: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(takeData(frame)).slice(0, 16)) {
    if (typeof value === 'number') fields[name] = value
    if (typeof value === 'string') fields[name] = value.slice(0, 1000).replace(/\p{Cc}/gu, '?')
  }
  return new BerthError(code as ErrorCode, fields)
}

/** The same failure with the name of the image, where the place that failed did not know it. */
export function withImage(error: BerthError, image: string): BerthError {
  if ('image' in error.fields) return error
  const fields: ErrorFields = { image, ...error.fields }
  return new BerthError(error.code, fields, { cause: error.cause ?? error })
}
