// SPDX-License-Identifier: Apache-2.0
/** An image of nothing, for engines that start no container without one; the prepared root is mounted in it. */
import { createHash } from 'node:crypto'
import type { StartPlace } from './engine.js'

const TAR_BLOCK = 512
/** Of the archive; only the engine sees it. */
const NAME = 'berth-empty'
const TAG = '1'
export const STUB_REFERENCE = `${NAME}:${TAG}`

/** Where the prepared root is mounted in it. */
export const INSIDE = '/berth'

/** The holder's command line, as seen there. */
export function holdInside({ hold }: StartPlace): string[] {
  return hold.map((word, index) => (index === 0 ? `${INSIDE}${word}` : word))
}

/** One directory, `./` with mode 755: with a root that others than root may enter; an import of nothing has none. */
export const EMPTY_TAR = tar([{ name: './', type: '5', mode: '0000755', content: '' }])

/** As `docker save` writes it, of one empty layer (Docker's image-spec v1.2). */
export function stubArchive(): string {
  const config = JSON.stringify({
    ...{ architecture: 'amd64', os: 'linux', config: {} },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(EMPTY_TAR).digest('hex')}`] },
  })
  const manifest = JSON.stringify([
    { Config: 'config.json', RepoTags: [STUB_REFERENCE], Layers: ['layer.tar'] },
  ])
  const file = (name: string, content: string): TarMember => ({ name, type: '0', mode: '0000644', content })
  return tar([file('config.json', config), file('layer.tar', EMPTY_TAR), file('manifest.json', manifest)])
}

interface TarMember {
  name: string
  type: '0' | '5'
  mode: string
  /** ASCII. */
  content: string
}

/** POSIX.1-2017, pax: ustar interchange format; two blocks of zeros at the end. */
function tar(members: readonly TarMember[]): string {
  const whole = members.map((member) => `${header(member)}${padded(member.content)}`).join('')
  return `${whole}${'\0'.repeat(2 * TAR_BLOCK)}`
}

function header({ name, type, mode, content }: TarMember): string {
  const size = `${content.length.toString(8).padStart(11, '0')}\0`
  const before = [
    ...[name.padEnd(100, '\0'), `${mode}\0`, '0000000\0', '0000000\0', size, '00000000000\0'],
  ].join('')
  const after = `${type}${'\0'.repeat(100)}ustar\x0000`
  const sum = [...before, ...' '.repeat(8), ...after].reduce((total, char) => total + char.charCodeAt(0), 0)
  return `${before}${sum.toString(8).padStart(6, '0')}\0 ${after}`.padEnd(TAR_BLOCK, '\0')
}

function padded(content: string): string {
  return content.padEnd(Math.ceil(content.length / TAR_BLOCK) * TAR_BLOCK, '\0')
}
