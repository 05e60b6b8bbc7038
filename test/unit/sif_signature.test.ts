// SPDX-License-Identifier: Apache-2.0
/** Whose signature of a SIF counts, over what, and that no other does; made by gpg around statements of our own. */
import assert from 'node:assert/strict'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readSif } from '../../src/image/sif.js'
import { checkSignatures } from '../../src/image/sif_signature.js'
import { BerthError } from '../../src/report/errors.js'
import * as sif from '../cluster/sif.js'
import { Signers } from '../cluster/sif_sign.js'
import { suite } from '../suite.js'

const test = suite('signatures of SIF files')
const folder = mkdtempSync(join(tmpdir(), 'berth-signed-'))
const missing = existsSync('/usr/bin/gpg') ? undefined : 'gpg'
const signers = missing === undefined ? new Signers() : undefined
test.after(() => {
  signers?.close()
  rmSync(folder, { recursive: true, force: true })
})

const HOST = { architecture: 'amd64', variants: [''] }
/** A superblock's length is all that is looked at; 500 bytes behind it are padding. */
const system = Buffer.alloc(5000, 'x')
system.writeBigUInt64LE(4500n, 40)
const definition = { type: 0x4001, content: Buffer.from('bootstrap: scratch\n') }
const parts: sif.SifPart[] = [definition, { content: system }]

const gpg = (): Signers => signers ?? assert.fail('no gpg')
let [alice, stranger] = ['', '']
test.before(() => {
  if (signers === undefined) return
  alice = signers.make('Alice <alice@example.org>')
  stranger = signers.make('Stranger <stranger@example.org>')
})

interface Asked {
  policy?: 'check' | 'require'
  keys?: Buffer
  /** Changes what was copied, as somebody would who writes to the file at that moment. */
  whileCopied?: (copy: Buffer) => void
}

/** The signer, '' for none. */
async function check(bytes: Buffer, asked: Asked = {}): Promise<string> {
  const { policy = 'require', keys = gpg().keys([alice]) } = asked
  const [path, copy] = [join(folder, 'x.sif'), join(folder, 'copy')]
  writeFileSync(path, bytes)
  const fd = openSync(path, 'r')
  try {
    const read = readSif(fd, 'x.sif', HOST) ?? assert.fail('no SIF')
    const order = { policy, file: '/etc/site/keys', keys: keys.toString('base64') }
    const signed = await checkSignatures(read, fd, 'x.sif', order)
    if (signed === undefined) return ''
    const { offset } = read.partition
    const copied = Buffer.concat([bytes.subarray(offset, offset + 4500)], 8192)
    asked.whileCopied?.(copied)
    writeFileSync(copy, copied)
    const stored = openSync(copy, 'r')
    await signed.checkCopy(stored, copied.length).finally(() => closeSync(stored))
    return signed.signer
  } finally {
    closeSync(fd)
  }
}

async function refuses(bytes: Buffer, problem: RegExp, asked: Asked = {}): Promise<void> {
  const error = await check(bytes, asked).then(
    (signer) => assert.fail(`was taken, as signed by "${signer}"`),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof BerthError, `${error}`)
  assert.equal(error.code, 'BERTH_ESIFSIGNATURE', `${error}`)
  assert.match(error.message, problem)
  assert.match(error.hint, /apptainer sign.*\/etc\/site\/keys/)
}

function changed(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes)
  other[at] = (other[at] ?? 0) ^ 1
  return other
}

const descriptor = (index: number) => sif.HEADER_BYTES + index * sif.DESCRIPTOR_BYTES

test.needs(missing, 'by a key of the site over all of it: it is taken, and tells by whom', async () => {
  const signed = gpg().sign(parts, alice)
  const by = `${alice} (Alice <alice@example.org>)`
  const ring = [stranger, alice]
  for (const keys of [gpg().keys(ring), gpg().keys(ring, false)])
    assert.equal(await check(signed, { keys }), by)
  const one = Buffer.concat([gpg().keys([stranger]), Buffer.from('\n# and\n'), gpg().keys([alice])])
  assert.equal(await check(signed, { keys: one, policy: 'check' }), by)
})

test.needs(
  missing,
  'unsigned: refused where a signature is required, taken where one is checked',
  async () => {
    await refuses(sif.makeSif(parts), /^image file x\.sif \(SIF\) is not signed$/)
    assert.equal(await check(sif.makeSif(parts), { policy: 'check' }), '')
  },
)

test.needs(missing, 'by a key that the site has not: refused by either policy', async () => {
  const signed = gpg().sign(parts, stranger)
  const problem = new RegExp(`is signed by key ${stranger.slice(-16)}, which the site does not know`)
  for (const policy of ['check', 'require'] as const) await refuses(signed, problem, { policy })
})

test.needs(
  missing,
  'one good signature beside a stranger’s is enough; a stranger’s cannot hide a bad one',
  async () => {
    const [good, other] = [gpg().signature(parts, alice), gpg().signature(parts, stranger)]
    assert.match(await check(sif.makeSif([...parts, other, good])), /Alice/)
    const wrong = gpg().signature(parts, alice, { only: [1] })
    await refuses(sif.makeSif([...parts, other, wrong]), /other objects beside its system than .*Alice/)
  },
)

test.needs(
  missing,
  'one byte of system, padding, header, descriptor or another object: refused',
  async () => {
    const signed = gpg().sign(parts, alice)
    const start = Number(signed.readBigInt64LE(descriptor(1) + 17))
    const other = Number(signed.readBigInt64LE(descriptor(0) + 17))
    const cases: [number, RegExp][] = [
      [start + 100, /differs in object 2 from what .*Alice.* signed/],
      [start + 4900, /differs in object 2/],
      [other, /differs in object 1/],
      [3, /has another header than .*Alice.* signed/],
      [50, /another header/],
      [descriptor(1) + 73, /another descriptor of object 2/],
      [descriptor(1) + 300, /another descriptor of object 2/],
      [descriptor(0) + 41, /another descriptor of object 1/],
      [descriptor(2) + 205, /names another key than .*Alice/],
    ]
    for (const [at, problem] of cases) await refuses(changed(signed, at), problem)
  },
)

test.needs(missing, 'the copy counts, not the file that was read before', async () => {
  const signed = gpg().sign(parts, alice)
  await refuses(signed, /differs in object 2/, { whileCopied: (copy) => copy.fill('y', 200, 201) })
  await refuses(signed, /differs in object 2/, { whileCopied: (copy) => copy.writeBigUInt64LE(4000n, 40) })
  await refuses(signed, /differs in object 2/, { whileCopied: (copy) => copy.writeBigUInt64LE(6000n, 40) })
})

test.needs(missing, 'a signature over something else than the system does not count', async () => {
  const some = gpg().sign(parts, alice, { only: [1] })
  await refuses(some, /has other objects beside its system than/)
  const two: sif.SifPart[] = [{ ...definition, group: 2 }, { content: system }]
  const wrong = gpg().sign(two, alice, { group: 2 })
  for (const policy of ['check', 'require'] as const)
    await refuses(wrong, /has a signature, but none over the system that would run/, { policy })
  const moved = { ...gpg().signature(two, alice, { group: 2 }), link: sif.GROUP_MASK + 1 }
  await refuses(sif.makeSif([...two, moved]), /differs|another descriptor/)
  const right = gpg().sign(two, alice, { group: 1 })
  assert.match(await check(right), /Alice/)
  const alone: sif.SifPart[] = [{ content: system, group: 0 }]
  await refuses(gpg().sign(alone, alice, { group: 0 }), /none over the system that would run/)
})

test.needs(missing, 'objects that were added to the group later, or twice, are refused', async () => {
  const signature = gpg().signature(parts, alice)
  await refuses(sif.makeSif([...parts, signature, definition]), /other objects beside its system/)
  const twice = sif.makeSif([...parts, signature, definition])
  twice.writeUInt32LE(1, descriptor(3) + 5)
  await refuses(twice, /other objects beside its system/)
})

test.needs(
  missing,
  'expired and revoked keys sign nothing, whenever the signature says that it was made',
  async () => {
    const at = '20200101T000000'
    const old = gpg().make('Old <old@example.org>', { at, expires: '2020-02-01' })
    const gone = gpg().make('Gone <gone@example.org>')
    const [byOld, byGone] = [gpg().sign(parts, old, { at }), gpg().sign(parts, gone)]
    const ring = () => ({ keys: gpg().keys([old, gone]) })
    assert.match(await check(byGone, ring()), /Gone/)
    gpg().revoke(gone)
    await refuses(byGone, /signed by .*Gone.*, but that key cannot be used: .*revoked/, ring())
    await refuses(byOld, /signed by .*Old.*, but that key cannot be used: .*expired/, ring())
    gpg().renew(old)
    assert.match(await check(byOld, ring()), /Old/)
  },
)

test.needs(missing, 'a signature that was cut, changed or is of another kind is refused', async () => {
  const signature = gpg().signature(parts, alice)
  const withContent = (content: Buffer) => sif.makeSif([...parts, { ...signature, content }])
  const text = signature.content.toString()
  const cases: [string, RegExp][] = [
    [text.replace('"version":1', '"version": 1'), /but the signature does not hold/],
    [text.slice(0, 300), /has a damaged signature/],
    [text.replace(/\n\n[\s\S]{40}/, '\n\n'), /has a damaged signature|does not hold/],
    ['', /signature of an unknown form/],
    ['{"payloadType": "application/vnd.sylabs.sif-metadata+json"}', /\(DSSE\), which berth does not check/],
  ]
  for (const [content, problem] of cases) await refuses(withContent(Buffer.from(content)), problem)
  const says = (words: string) => gpg().sign(parts, alice, { alter: () => words })
  await refuses(says(`SIFHASH:\n${'a'.repeat(64)}`), /of the old form \(SIFHASH\)/)
  for (const words of ['{}', 'hello', '[]', '{"version":1,"header":{"digest":"sha256:00"},"objects":[]}'])
    await refuses(says(words), /over something else than a SIF/)
  const weak = gpg().sign(parts, alice, { alter: (words) => words.replaceAll('sha256:', 'md5:') })
  await refuses(weak, /over something else than a SIF/)
  for (const id of ['-1', '1.5', '1e30', '"1"', '0'])
    await refuses(
      gpg().sign(parts, alice, { alter: (words) => words.replace('"relativeId":1', `"relativeId":${id}`) }),
      /over something else than a SIF|other objects/,
    )
})

test.needs(missing, 'sizes and places without sense end in a refusal', async () => {
  const signed = gpg().sign(parts, alice)
  const place = (entry: number, field: number, value: bigint) => {
    const bytes = Buffer.from(signed)
    bytes.writeBigInt64LE(value, descriptor(entry) + field)
    return bytes
  }
  const [OFFSET, SIZE] = [17, 25]
  await refuses(place(2, SIZE, 1n << 62n), /has a signature of more than 524288 bytes/)
  await refuses(place(2, SIZE, -1n), /has a signature of more than/)
  await refuses(place(2, OFFSET, 1n << 40n), /signature of an unknown form/)
  await refuses(place(0, SIZE, 1n << 50n), /another descriptor of object 1/)
  await refuses(place(0, OFFSET, 1n << 40n), /differs in object 1/)
  const { content, ...signature } = gpg().signature(parts, alice)
  const [head = '', armor = ''] = content.toString().split('-----BEGIN PGP SIGNATURE-----')
  const packet = Buffer.from(/\n\n([\s\S]*?)\n=/.exec(armor)?.[1] ?? '', 'base64')
  const body = Buffer.concat(Array.from({ length: 1000 }, () => packet)).toString('base64')
  const end = `-----BEGIN PGP SIGNATURE-----\n\n${body}\n-----END PGP SIGNATURE-----\n`
  await refuses(
    sif.makeSif([...parts, { ...signature, content: Buffer.from(head + end) }]),
    /has a signature by more than 16 keys/,
  )
  const many = Array.from({ length: 17 }, () => gpg().signature(parts, alice))
  await refuses(sif.makeSif([...parts, ...many]), /has more than 16 signatures/)
})

test.needs(
  missing,
  'whatever byte is changed: a coded refusal, or all that counts is as it was',
  async () => {
    const signed = gpg().sign(parts, alice)
    const start = Number(signed.readBigInt64LE(descriptor(2) + 17))
    // The same in every run (Numerical Recipes' linear congruence).
    let state = 1
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return (state >>> 8) % below
    }
    let refused = 0
    for (let turn = 0; turn < 200; turn++) {
      const bytes = Buffer.from(signed)
      const at = turn % 2 === 0 ? random(descriptor(3)) : start + random(bytes.length - start)
      bytes[at] = random(256)
      try {
        assert.match(await check(bytes), /Alice/)
      } catch (error) {
        const { code } = error as BerthError
        assert.match(code, /^BERTH_E(SIF|SIFENGINE|SIFSIGNATURE|PLATFORM)$/, `${error}`)
        refused++
      }
    }
    assert.ok(refused > 50, `${refused}`)
  },
)

test.needs(missing, 'keys that are none are the site’s mistake', async () => {
  for (const keys of [Buffer.alloc(0), Buffer.from('no keys here\n')])
    await assert.rejects(check(gpg().sign(parts, alice), { keys }), (error: unknown) => {
      assert.ok(error instanceof BerthError)
      assert.equal(error.code, 'BERTH_ESITE')
      assert.match(error.message, /^\/etc\/site\/keys: sif_keys: holds no OpenPGP keys/)
      return true
    })
})

test.run()
