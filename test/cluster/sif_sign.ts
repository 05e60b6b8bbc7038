// SPDX-License-Identifier: Apache-2.0
/** Signed SIF files without Apptainer: its statement written anew here, and signed by gpg. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as sif from './sif.js'

interface SignOptions {
  /** Group that is signed, 1 by default. */
  group?: number
  /** Only these objects of it, by their numbers in the file. */
  only?: number[]
  /** Changes the statement before it is signed. */
  alter?: (statement: string) => string
  /** The clock of the signer. */
  at?: string
}

/** A keyring of its own, below a short path: gpg's agent has a socket there. */
export class Signers {
  private readonly home = mkdtempSync(join(tmpdir(), 'bgpg-'))

  /** @returns the fingerprint */
  make(name: string, { at = '', expires = 'never' } = {}): string {
    this.gpg([...clock(at), '--quick-generate-key', name, 'ed25519', 'sign', expires])
    const listed = this.gpg(['--with-colons', '--list-keys', name]).toString()
    return /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? ''
  }

  /** From now on it does not expire. */
  renew(fingerprint: string): void {
    this.gpg(['--quick-set-expire', fingerprint, '0'])
  }

  revoke(fingerprint: string): void {
    const file = join(this.home, 'openpgp-revocs.d', `${fingerprint}.rev`)
    // gpg keeps it unusable by a colon, against accidents.
    writeFileSync(file, readFileSync(file, 'utf8').replace(':-----BEGIN', '-----BEGIN'))
    this.gpg(['--import', file])
  }

  keys(fingerprints: readonly string[], armored = true): Buffer {
    // As key servers give them: what a key said of itself before it was renewed is not there.
    const minimal = ['--export-options', 'export-minimal', '--export']
    return this.gpg([...(armored ? ['--armor'] : []), ...minimal, ...fingerprints])
  }

  /** The file with one more object: a signature of these parts. */
  sign(parts: readonly sif.SifPart[], fingerprint: string, options: SignOptions = {}): Buffer {
    return sif.makeSif([...parts, this.signature(parts, fingerprint, options)])
  }

  signature(parts: readonly sif.SifPart[], fingerprint: string, options: SignOptions = {}): sif.SifPart {
    const { group = 1, alter = (text) => text, at = '' } = options
    const text = alter(statementOf(sif.makeSif(parts), group, options.only))
    const content = this.gpg([...clock(at), '--local-user', fingerprint, '--clearsign'], text)
    return { type: sif.SIGNATURE, link: sif.GROUP_MASK + group, fingerprint, content }
  }

  close(): void {
    execFileSync('gpgconf', ['--homedir', this.home, '--kill', 'gpg-agent'])
    rmSync(this.home, { recursive: true, force: true })
  }

  private gpg(words: readonly string[], input = ''): Buffer {
    const quiet = ['--homedir', this.home, '--batch', '--quiet', '--no-tty', '--pinentry-mode', 'loopback']
    return execFileSync('gpg', [...quiet, '--passphrase', '', ...words], {
      input,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
  }
}

function clock(at: string): string[] {
  return at === '' ? [] : ['--faked-system-time', `${at}!`]
}

function statementOf(file: Buffer, group: number, only?: readonly number[]): string {
  const entries = Array.from({ length: 48 }, (_, index) =>
    file.subarray(128 + index * sif.DESCRIPTOR_BYTES, 128 + (index + 1) * sif.DESCRIPTOR_BYTES),
  ).filter((entry) => entry[4] === 1 && entry.readUInt32LE(9) === sif.GROUP_MASK + group)
  const first = Math.min(...entries.map((entry) => entry.readUInt32LE(5)))
  const objects = entries
    .filter((entry) => only?.includes(entry.readUInt32LE(5)) ?? true)
    .map((entry) => {
      const offset = Number(entry.readBigInt64LE(17))
      const number = Buffer.alloc(4)
      number.writeUInt32LE(entry.readUInt32LE(5) - first)
      const fields = [
        ...[entry.subarray(0, 5), number, entry.subarray(13, 17), entry.subarray(25, 33)],
        ...[entry.subarray(41, 49), entry.subarray(57)],
      ]
      return {
        relativeId: entry.readUInt32LE(5) - first,
        descriptorDigest: digest(Buffer.concat(fields)),
        objectDigest: digest(file.subarray(offset, offset + Number(entry.readBigInt64LE(25)))),
      }
    })
  const header = { digest: digest(Buffer.concat([file.subarray(0, 45), file.subarray(48, 64)])) }
  return JSON.stringify({ version: 1, header, objects })
}

function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
