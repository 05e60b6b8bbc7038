// SPDX-License-Identifier: Apache-2.0
/** A user's squashfs in the importer: copied, verified, and asked how it wants to be started (enroot's files). */
import { createHash } from 'node:crypto'
import { createReadStream, fstatSync } from 'node:fs'
import type { Native, NativeError } from '../native.js'
import { BerthError } from '../report/errors.js'
import { VOLUMES_MAX } from './config.js'
import { readEnrootStart } from './enroot_start.js'
import type { ImageConfig } from './image.js'
import type { HostPlatform } from './platform.js'
import { readSavedConfig, SAVED_CONFIG } from './saved.js'
import { readSif, type SifPartition } from './sif.js'
import { SIF_FILES, sifConfig } from './sif_config.js'
import { checkSignatures, type SignedSystem } from './sif_signature.js'
import { GROUP, type Imported, type ImportOrder, PASSWD } from './wire.js'

/** Of a read that only feeds a hash. */
const READ_BYTES = 1 << 20
const PAD_BYTES = 4096
/** Where enroot keeps an image's Env, as a shell script its WorkingDir and Entrypoint, and among mounts its Volumes. */
const ENVIRONMENT = 'etc/environment'
const RC = 'etc/rc'
const FSTAB = 'etc/fstab'
/** `enroot import` has each mounted on itself. */
const VOLUME = /^\$\{ENROOT_ROOTFS\}(\/\S*) \1 none \S*\bbind\b/gm

/** The file of which it is told, and which part of it is the squashfs, if not all. */
interface SquashfsPlace {
  path: string
  part?: SifPartition
  /** The copy must be what was signed. */
  signed?: SignedSystem
}

/** All of the file, or the system of a SIF. @throws BerthError BERTH_ESIF… of any kind, BERTH_EPLATFORM, BERTH_ESITE */
export async function findSquashfs(
  source: number,
  path: string,
  host: HostPlatform,
  { signatures }: ImportOrder,
): Promise<SquashfsPlace> {
  const sif = readSif(source, path, host)
  // The store asks for signatures of what was a SIF when it looked.
  if (sif === undefined && signatures !== undefined)
    throw new BerthError('BERTH_ESIF', { path, problem: 'was changed while it was read' })
  if (sif === undefined) return { path }
  const signed = signatures && (await checkSignatures(sif, source, path, signatures))
  return { path, part: sif.partition, ...(signed === undefined ? {} : { signed }) }
}

/**
 * With `output`: a private copy there, every table and block of it checked. Without: only what the file says.
 * @throws BerthError BERTH_ESQUASHFS, BERTH_ESIFSIGNATURE, BERTH_ETOOBIG, BERTH_ESPACE
 */
export async function takeSquashfs(
  native: Native,
  source: number,
  output: number | undefined,
  order: ImportOrder,
  place: SquashfsPlace,
): Promise<{ imported: Imported; captured: Record<string, Buffer> }> {
  const { path, part, signed } = place
  try {
    const checked =
      output === undefined ? undefined : await copyVerified(native, source, output, order, place)
    const sha256 = order.check === true ? await checkWhole(native, source, order) : undefined
    const own = part === undefined ? [ENVIRONMENT, RC, FSTAB] : SIF_FILES
    const captured = await native.readSquashfs(output ?? source, [PASSWD, GROUP, SAVED_CONFIG, ...own])
    const said = () =>
      part === undefined
        ? readConfig(captured[ENVIRONMENT], captured[RC], captured[FSTAB])
        : sifConfig(captured, part.architecture)
    const imported: Imported = {
      size: checked?.size ?? fstatSync(source).size,
      entries: checked?.entries ?? 0,
      config: readSavedConfig(captured[SAVED_CONFIG]) ?? said(),
      layers: [],
      reused: 0,
      problem: '',
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(signed === undefined ? {} : { signer: signed.signer }),
    }
    return { imported, captured }
  } catch (error) {
    throw error instanceof BerthError ? error : explain(error as NativeError, path)
  }
}

/** Every table and block; the hash also finds bytes that unpack to something else than before. */
async function checkWhole(native: Native, source: number, order: ImportOrder): Promise<string> {
  const { bytesMax, entriesMax, threads } = order
  await native.verifySquashfs(source, { bytesMax, entriesMax, threads })
  const hash = createHash('sha256')
  const stream = createReadStream('', { fd: source, autoClose: false, start: 0, highWaterMark: READ_BYTES })
  for await (const piece of stream) hash.update(piece as Buffer)
  return hash.digest('hex')
}

async function copyVerified(
  native: Native,
  source: number,
  output: number,
  order: ImportOrder,
  { part, signed }: SquashfsPlace,
) {
  const before = fstatSync(source, { bigint: true })
  let size = await native.copySquashfs(source, output, {
    sizeMax: order.bytesMax,
    owners: signed === undefined ? order.owners : 'keep',
    ...(part === undefined ? {} : { offset: part.offset }),
  })
  if (part !== undefined && size > roundUp(part.size))
    throw Object.assign(new Error('it reaches beyond its partition'), { code: 'EUCLEAN' })
  const after = fstatSync(source, { bigint: true })
  if (before.mtimeNs !== after.mtimeNs || before.size !== after.size) {
    throw Object.assign(new Error('it was written while it was copied'), { code: 'EUCLEAN' })
  }
  if (signed !== undefined) {
    await signed.checkCopy(output, size)
    if (order.owners === 'root') size = await native.giveToRoot(output)
  }
  const { bytesMax, entriesMax, threads } = order
  const { entries } = await native.verifySquashfs(output, { bytesMax, entriesMax, threads })
  return { size, entries }
}

/** As a copy is padded for a loop device. */
function roundUp(size: number): number {
  return Math.ceil(size / PAD_BYTES) * PAD_BYTES
}

/** enroot's /etc/environment has K=V lines, distributions quote the value. */
export function readConfig(
  environment: Buffer | undefined,
  rc: Buffer | undefined,
  fstab?: Buffer,
): ImageConfig {
  const lines = (environment?.toString('utf8') ?? '').split('\n').map((line) => line.trim())
  const env = lines
    .filter((line) => /^[A-Za-z_][A-Za-z0-9_.-]*=/.test(line) && !line.includes('\0'))
    .map((line) => line.replace(/=(["'])(.*)\1$/, '=$2'))
  const { workdir, entrypoint, cmd, foreign } = readEnrootStart(rc?.toString('utf8') ?? '')
  const start = { workdir, entrypoint, cmd, ...(foreign ? { script: `/${RC}` } : {}) }
  const mounts = fstab?.toString('utf8') ?? ''
  const volumes = [...mounts.matchAll(VOLUME)].map(([, path = '']) => path).slice(0, VOLUMES_MAX)
  const known = { ...start, ...(volumes.length === 0 ? {} : { volumes }) }
  return { env, ...known, user: '', labels: {}, architecture: '' }
}

function explain(error: NativeError, path: string): BerthError {
  const told = (problem: string) => new BerthError('BERTH_ESQUASHFS', { path, problem }, { cause: error })
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') {
    return new BerthError('BERTH_ESPACE', { path: 'the store', bytes: 0 }, { cause: error })
  }
  if (error.code === 'EFBIG') return told('is larger than the site allows')
  if (error.code === 'EOPNOTSUPP')
    return told('has a version or compression that cannot be checked (zstd, gzip, lz4 and lzo can)')
  if (error.code === 'EUCLEAN')
    return told(`is damaged: ${error.message.replace(/^EUCLEAN: |, squashfs$/g, '')}`)
  return told(`cannot be read (${error.code ?? error.message})`)
}
