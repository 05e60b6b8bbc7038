// SPDX-License-Identifier: Apache-2.0
/**
 * Whether the system in a SIF is signed by a key that the site trusts. One signature is enough, by one such key, over the
 * header and all objects of the system's group: who adds others says nothing about it.
 */
import type { CleartextMessage, Key } from 'openpgp'
import { BerthError, messageOf } from '../report/errors.js'
import { findSigner, readClearsigned, readKeys } from './openpgp.js'
import { EXTRA_AT, placeOf, readAt, type Sif } from './sif.js'
import { type Digest, matches, parseStatement } from './sif_statement.js'
import type { SignatureOrder } from './wire.js'

export interface SignedSystem {
  /** Fingerprint and name of the key. */
  signer: string
  /** Of the partition, which nobody has read yet. @throws BerthError BERTH_ESIFSIGNATURE: it is not what was signed */
  checkCopy(copy: number, size: number): Promise<void>
}

const SIGNATURE = 0x4005
const ID_AT = 5
const GROUP_AT = 9
const LINK_AT = 13
const FINGERPRINT_AT = EXTRA_AT + 4
const FINGERPRINT_BYTES = 20
/** Marks a number as a group's; with nothing below it means no group. */
const GROUP_MASK = 0xf0000000
/** A statement about 1024 objects has 240 KB. */
const SIGNATURE_BYTES_MAX = 512 << 10
/** Each may cost a public-key operation per key of the site. */
const SIGNATURES_MAX = 16
const CLEARSIGNED = '-----BEGIN PGP SIGNED MESSAGE-----'
/** Of an older signature's text: digest of the content only, which leaves header and descriptors to anybody. */
const LEGACY = 'SIFHASH:'
/** Of a squashfs: how long it is. */
const BYTES_USED_AT = 40
const PAD_BYTES = 4096

/** Undefined: unsigned, and the site lets that pass. @throws BerthError BERTH_ESIFSIGNATURE, BERTH_ESITE */
export async function checkSignatures(
  sif: Sif,
  fd: number,
  path: string,
  order: SignatureOrder,
): Promise<SignedSystem | undefined> {
  const refuse = (problem: string) => {
    throw new BerthError('BERTH_ESIFSIGNATURE', { path, problem, keys: order.file })
  }
  const all = sif.entries.filter((entry) => entry.readInt32LE(0) === SIGNATURE)
  if (all.length === 0) return order.policy === 'check' ? undefined : refuse('is not signed')
  const group = groupOf(sif.primary)
  const linked = [...(group === GROUP_MASK || group === 0 ? [] : [group]), sif.primary.readUInt32LE(ID_AT)]
  const signatures = all.filter((entry) => linked.includes(entry.readUInt32LE(LINK_AT)))
  if (signatures.length === 0) return refuse('has a signature, but none over the system that would run')
  if (signatures.length > SIGNATURES_MAX) return refuse(`has more than ${SIGNATURES_MAX} signatures`)
  const keys = await takeKeys(order)
  let seen: Refusal | undefined
  for (const signature of signatures) {
    const found = await checkOne(sif, fd, signature, keys)
    if ('digest' in found) {
      const { signer, digest, otherwise } = found
      const checkCopy = async (copy: number, size: number) => {
        if (!(await isCopy(sif, fd, digest, copy, size))) refuse(otherwise)
      }
      return { signer, checkCopy }
    }
    if (seen === undefined || (found.known && !seen.known)) seen = found
  }
  return refuse(seen?.problem ?? 'is not signed')
}

/** All is as it was signed but for the system itself. */
interface Held {
  signer: string
  digest: Digest
  /** What is wrong if it has another one. */
  otherwise: string
}

interface Refusal {
  problem: string
  /** A key of the site's has something to do with it: that tells more than a stranger's. */
  known: boolean
}

async function takeKeys({ file, keys }: SignatureOrder): Promise<Key[]> {
  try {
    return await readKeys(Buffer.from(keys, 'base64'))
  } catch (error) {
    const problem = `holds no OpenPGP keys (${messageOf(error)})`
    throw new BerthError('BERTH_ESITE', { place: file, key: 'sif_keys', problem }, { cause: error })
  }
}

async function checkOne(sif: Sif, fd: number, entry: Buffer, keys: readonly Key[]): Promise<Held | Refusal> {
  const unknown = (problem: string): Refusal => ({ problem, known: false })
  const { offset, size } = placeOf(entry)
  if (size > SIGNATURE_BYTES_MAX) return unknown(`has a signature of more than ${SIGNATURE_BYTES_MAX} bytes`)
  const text = readAt(fd, offset, size).toString('utf8')
  if (!text.startsWith(CLEARSIGNED))
    return unknown(
      text.startsWith('{')
        ? 'is signed with a plain key or certificate (DSSE), which berth does not check'
        : 'has a signature of an unknown form',
    )
  let message: CleartextMessage
  try {
    message = await readClearsigned(text)
  } catch {
    return unknown('has a damaged signature')
  }
  const stated = message.getText()
  if (stated.startsWith(LEGACY))
    return unknown('has a signature of the old form (SIFHASH), which covers too little of the file')
  const signer = await findSigner(message, keys)
  if ('problem' in signer) return signer
  const claimed = entry.subarray(FINGERPRINT_AT, FINGERPRINT_AT + FINGERPRINT_BYTES)
  if (!signer.by.startsWith(claimed.toString('hex').toUpperCase()))
    return { problem: `names another key than ${signer.by}, which signed it`, known: true }
  return checkStatement(sif, fd, stated, signer.by)
}

async function checkStatement(sif: Sif, fd: number, text: string, by: string): Promise<Held | Refusal> {
  const broken = (problem: string): Refusal => ({ problem, known: true })
  const statement = parseStatement(text)
  if (statement === undefined) return broken(`has a signature of ${by} over something else than a SIF`)
  const objects = sif.entries.filter((entry) => groupOf(entry) === groupOf(sif.primary))
  const first = Math.min(...objects.map((entry) => entry.readUInt32LE(ID_AT)))
  const stated = new Map(statement.objects.map((object) => [object.relativeId, object]))
  const ids = new Set(objects.map((entry) => entry.readUInt32LE(ID_AT) - first))
  if (ids.size !== objects.length || stated.size !== ids.size || [...ids].some((id) => !stated.has(id)))
    return broken(`has other objects beside its system than ${by} signed`)
  if (!(await matches(statement.header, headerBytes(sif.header))))
    return broken(`has another header than ${by} signed`)
  const differs = (id: number) => `differs in object ${first + id} from what ${by} signed`
  // Descriptors first: they bound what is read of a file that somebody else may have filled.
  for (const entry of objects) {
    const id = entry.readUInt32LE(ID_AT) - first
    const digest = stated.get(id)?.descriptor
    if (digest === undefined || !(await matches(digest, descriptorBytes(entry, id))))
      return broken(`has another descriptor of object ${first + id} than ${by} signed`)
  }
  for (const entry of objects) {
    const id = entry.readUInt32LE(ID_AT) - first
    const { offset, size } = placeOf(entry)
    const digest = stated.get(id)?.content
    const content = { fd, start: offset, size }
    if (entry !== sif.primary && (digest === undefined || !(await matches(digest, [content]))))
      return broken(differs(id))
  }
  const id = sif.primary.readUInt32LE(ID_AT) - first
  const digest = stated.get(id)?.content
  return digest === undefined ? broken(differs(id)) : { signer: by, digest, otherwise: differs(id) }
}

/** A copy ends with the squashfs; what lies behind that in the partition was signed too, and is never stored. */
async function isCopy(sif: Sif, fd: number, digest: Digest, copy: number, size: number): Promise<boolean> {
  const { partition } = sif
  const used = Number(readAt(copy, BYTES_USED_AT, 8).readBigUInt64LE())
  if (used > partition.size || Math.ceil(used / PAD_BYTES) * PAD_BYTES !== size) return false
  return matches(digest, [
    { fd: copy, start: 0, size: used },
    { fd, start: partition.offset + used, size: partition.size - used },
  ])
}

/** Without architecture, times and what says where things lie. */
function headerBytes(header: Buffer): Buffer[] {
  return [header.subarray(0, 45), header.subarray(48, 64)]
}

/** Without the group, the place and the time of the last change; its number counts from the group's first. */
function descriptorBytes(entry: Buffer, id: number): Buffer[] {
  const number = Buffer.alloc(4)
  number.writeUInt32LE(id)
  const parts = [[13, 17] as const, [25, 33] as const, [41, 49] as const, [57, entry.length] as const]
  return [entry.subarray(0, 5), number, ...parts.map(([from, to]) => entry.subarray(from, to))]
}

function groupOf(entry: Buffer): number {
  return entry.readUInt32LE(GROUP_AT)
}
