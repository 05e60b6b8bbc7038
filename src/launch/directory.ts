// SPDX-License-Identifier: Apache-2.0
/** An unpacked root file system as image: nothing is imported, the kernel reads it where it lies. */
import { resolve } from 'node:path'
import { EMPTY_CONFIG } from '../image/config.js'
import type { StoredImage } from '../image/image.js'
import { native } from '../native.js'
import { type Access, readText } from '../store/access.js'
import type { HeldImage } from './hold_image.js'

/** What may be read of it is for the build to find out, which acts as the user. */
export async function holdDirectory(access: Access, path: string): Promise<HeldImage> {
  const directory = resolve(access.cwd, path)
  const read = async (file: string) => (await readText(native, access, `${directory}${file}`)) ?? ''
  const [passwd, group] = await Promise.all([read('/etc/passwd'), read('/etc/group')])
  const image: StoredImage = {
    ...{ key: '', digest: '', path: directory, size: 0, created: 0 },
    ...{ config: EMPTY_CONFIG, passwd, group, layers: [] },
  }
  return { image, source: { directory } }
}
