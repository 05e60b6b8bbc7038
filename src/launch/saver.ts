// SPDX-License-Identifier: Apache-2.0
/** The process that reads image and changes and writes the new image: started without rights, asked once. */
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { type Assembled, type AssembleOptions, type NativeError, native } from '../native.js'
import { nodeOf } from '../store/importer.js'

/** JavaScript's share: the order and its answer. */
const HEAP_MIB_MAX = 64
/** An answer is a few numbers or one error. */
const ANSWER_BYTES_MAX = 64 << 10
/** Index of the upper directory among the descriptors. */
const UPPER = 2

/** What bin/saver.js is told; descriptors have their places. */
export type SaveOrder = Omit<AssembleOptions, 'image' | 'upper' | 'out' | 'opaque'>

export interface SaverOptions {
  distDir: string
  user: { uid: number; gid: number }
  image: number
  upper: number
  out: number
  order: SaveOrder
  /** RLIMIT_FSIZE. */
  sizeMax: number
  signal: AbortSignal
}

/** @throws an Error with `code`, as the addon's own calls */
export async function runSaver(options: SaverOptions): Promise<Assembled> {
  const { distDir, user, image, upper, out, order, sizeMax, signal } = options
  const [ours, theirs] = native.socketPair()
  const argv = [nodeOf(distDir), `--max-old-space-size=${HEAP_MIB_MAX}`, join(distDir, 'bin/saver.js')]
  const saver = await native
    .startSaver({
      ...user,
      argv: [...argv, String(sizeMax), distDir],
      fds: [theirs, image, upper, out],
      upper: UPPER,
    })
    .finally(() => native.closeFd(theirs))
  const end = () => saver.close()
  try {
    signal.addEventListener('abort', end, { once: true })
    return takeAnswer(await converse(ours, `${JSON.stringify(order)}\n`))
  } finally {
    signal.removeEventListener('abort', end)
    saver.close()
  }
}

function converse(socket: number, order: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const connection = native.adopt(socket, {
      data: (bytes, fds) => {
        for (const fd of fds) native.closeFd(fd)
        answer += bytes.toString('utf8')
        if (answer.length > ANSWER_BYTES_MAX) connection.close()
      },
      closed: () => resolve(answer),
    })
    connection.send(Buffer.from(order))
  })
}

function takeAnswer(text: string): Assembled {
  let answer: Record<string, unknown> = {}
  try {
    answer = JSON.parse(text) as Record<string, unknown>
  } catch {
    throw new Error('the process that saves ended without an answer')
  }
  const { size, copied, fresh } = answer
  if (typeof size === 'number' && typeof copied === 'number' && typeof fresh === 'number') {
    return { size, copied, fresh }
  }
  throw failure(answer)
}

function failure({ error, code, path, message }: Record<string, unknown>): NativeError {
  const clean = (value: unknown) => (typeof value === 'string' ? value.slice(0, 1000) : '')
  const name = typeof error === 'number' ? getSystemErrorName(-error) : clean(code)
  const words = [clean(path), clean(message)].filter((word) => word !== '').join(': ')
  return Object.assign(new Error(words.replace(/\p{Cc}/gu, '?')), { code: name, errno: 0, syscall: 'save' })
}
