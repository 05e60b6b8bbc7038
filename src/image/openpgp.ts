// SPDX-License-Identifier: Apache-2.0
/** Clearsigned messages and the keys that a site trusts, by OpenPGP.js; only the importer, which has no rights, loads it. */
import type { CleartextMessage, Key, KeyID } from 'openpgp'
import { messageOf } from '../report/errors.js'

/** Loaded for the first message: hardly an image is signed. */
const library = () => import('openpgp')

const ARMORED = /-----BEGIN PGP PUBLIC KEY BLOCK-----[\s\S]*?-----END PGP PUBLIC KEY BLOCK-----/g

/** In one message; each costs a public-key operation for each key with its number. */
const SIGNERS_MAX = 16
/** As long as what is shown may be. */
const NAME_CHARS_MAX = 200
const REASON_CHARS_MAX = 200

/** Who signed, or why nobody did that counts. */
type Signer = { by: string } | { problem: string; known: boolean }

/** One or several, armored or not. @throws Error that says what is wrong with them */
export async function readKeys(bytes: Buffer): Promise<Key[]> {
  const { readKeys: read } = await library()
  const blocks = bytes.toString('latin1').match(ARMORED) ?? []
  const keys =
    blocks.length === 0
      ? await read({ binaryKeys: bytes })
      : (await Promise.all(blocks.map((armoredKeys) => read({ armoredKeys })))).flat()
  if (keys.length === 0) throw new Error('there is none')
  return keys
}

/** @throws Error when it is none, or damaged */
export async function readClearsigned(text: string): Promise<CleartextMessage> {
  return (await library()).readCleartextMessage({ cleartextMessage: text })
}

/** The first of `keys` whose signature holds, if that key may sign today: an expired one may be anybody's by now. */
export async function findSigner(message: CleartextMessage, keys: readonly Key[]): Promise<Signer> {
  const ids = message.getSigningKeyIDs()
  if (ids.length > SIGNERS_MAX)
    return { problem: `has a signature by more than ${SIGNERS_MAX} keys`, known: false }
  const made = ids.flatMap((id) =>
    keys.filter((key) => key.getKeys(id).length > 0).map((key) => ({ id, key })),
  )
  let seen: Signer = {
    problem: `is signed by key ${ids[0]?.toHex().toUpperCase() ?? '?'}, which the site does not know`,
    known: false,
  }
  for (const { id, key } of made) {
    const by = await nameOf(key)
    const problem = await problemOf(message, id, key)
    if (problem === '') return { by }
    seen = { problem: `is signed by ${by}, but ${problem}`, known: true }
  }
  return seen
}

async function problemOf(message: CleartextMessage, id: KeyID, key: Key): Promise<string> {
  const { verify } = await library()
  try {
    await key.getSigningKey(id)
  } catch (error) {
    return `that key cannot be used: ${reason(error)}`
  }
  // The key holds now, by itself. What it said of itself then is gone where its end was put off since.
  const config = { allowInsecureVerificationWithReformattedKeys: true }
  const { signatures } = await verify({ message, verificationKeys: key, config })
  const results = await Promise.allSettled(
    signatures.filter(({ keyID }) => keyID.equals(id)).map(({ verified }) => verified),
  )
  if (results.some(({ status }) => status === 'fulfilled')) return ''
  const failed = results.find((result) => result.status === 'rejected')
  return `the signature does not hold: ${reason(failed?.reason)}`
}

/** Fingerprint, and who it says it is. */
async function nameOf(key: Key): Promise<string> {
  const user = await key.getPrimaryUser().catch(() => undefined)
  const name = (user?.user.userID?.userID ?? key.getUserIDs()[0] ?? '').replace(/\p{Cc}/gu, '?')
  const fingerprint = key.getFingerprint().toUpperCase()
  return name === '' ? fingerprint : `${fingerprint} (${name.slice(0, NAME_CHARS_MAX)})`
}

function reason(error: unknown): string {
  return messageOf(error).slice(0, REASON_CHARS_MAX)
}
