// SPDX-License-Identifier: Apache-2.0
/**
 * Writes build/rooms/ROOM-N.cc, which include the sources of a folder of native/, some in each, and prints their names
 * for binding.gyp. Most of what a compiler reads is headers of the standard library: read once for a room and not once
 * a file, the addon builds in a third of the time (docs/decisions/0027-compiling-by-folder.md). A file that is as it
 * should be stays, for make.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Of one compilation: enough of them for the cores of a small machine. */
const SOURCES_MAX = 15
const NATIVE = import.meta.dirname
const OUT = join(NATIVE, '../build/rooms')

/** @returns {[string, string][]} name and content of each file, for a folder and those below it */
function roomsIn(folder) {
  const entries = readdirSync(join(NATIVE, folder), { withFileTypes: true })
  const below = entries
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => roomsIn(join(folder, name)))
  const sources = entries
    .map(({ name }) => name)
    .filter((name) => name.endsWith('.cc'))
    .sort()
  const count = Math.ceil(sources.length / SOURCES_MAX)
  const parts = Array.from({ length: count }, (_, part) => {
    const own = sources.filter((_, index) => Math.floor((index * count) / sources.length) === part)
    return [
      `${basename(folder)}-${part}.cc`,
      own.map((name) => `#include "${join(folder, name)}"\n`).join(''),
    ]
  })
  return [...parts, ...below]
}

function contentOf(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

mkdirSync(OUT, { recursive: true })
const rooms = roomsIn('')
for (const name of readdirSync(OUT)) if (!rooms.some(([room]) => room === name)) rmSync(join(OUT, name))
for (const [name, content] of rooms)
  if (contentOf(join(OUT, name)) !== content) writeFileSync(join(OUT, name), content)
console.log(rooms.map(([name]) => `build/rooms/${name}`).join(' '))
