// SPDX-License-Identifier: Apache-2.0
/** Facts of an image that was imported without any. */
import { type ImageFacts, NO_FACTS } from '../image/facts.js'
import type { StoredImage } from '../image/image.js'
import { parseReference } from '../image/reference.js'
import { type Intake, inspectSquashfs } from './intake.js'

/** Of an image in the store that has none yet. Never fails. @param open its descriptor, which is closed here */
export async function findFacts(
  intake: Intake,
  { key, path }: Pick<StoredImage, 'key' | 'path'>,
  open: () => number | Promise<number>,
): Promise<ImageFacts> {
  let fd: number | undefined
  try {
    fd = await open()
    const root = { uid: 0, gid: 0, gids: [], env: {}, cwd: '/' }
    const { facts } = await inspectSquashfs(intake, parseReference(path), fd, root, true)
    return intake.facts.set(key, facts ?? NO_FACTS)
  } catch {
    return NO_FACTS
  } finally {
    if (fd !== undefined) intake.native.closeFd(fd)
  }
}
