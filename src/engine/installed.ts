// SPDX-License-Identifier: Apache-2.0
/** Which engines this node has: looked for each time, asked for its version once per file. */
import { execFile } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { native } from '../native.js'
import { messageOf } from '../report/errors.js'
import type { Site } from '../site/site.js'
import type { Engine } from './engine.js'
import { isOlder } from './version.js'

export interface Installed {
  /** By its absolute path; empty: nothing but the kernel. */
  binary: string
  version: string
}

/** Found, or why not. */
type Presence = Installed | { problem: string }

export type FindEngine = (engine: Engine) => Promise<Presence>

/** A program of a busy node may take seconds to come from a shared file system. */
const ASK_MS_MAX = 10_000
/** No account of its own is needed to say a version (Linux' overflow uid). */
const NOBODY = 65534
const PACKED_ROOT = '/'

/** Answers for this site's `engine_path`. */
export function engineFinder(site: Pick<Site, 'get'>): FindEngine {
  const known = new Map<string, Promise<Presence>>()
  return async (engine) => {
    const features = native.kernelFeatures()
    const lacking = engine.needs.kernel.find((row) => !features[row])
    if (lacking !== undefined) return { problem: `the kernel has no ${lacking}` }
    const { binary, helpers = [] } = engine.needs
    if (binary === undefined) return { binary: '', version: features.release }
    const directories = site.get('engine_path').split(':')
    const missing = [binary, ...helpers].find((name) => findProgram(name, directories) === undefined)
    if (missing !== undefined) return { problem: `no ${missing} in ${directories.join(':')}` }
    const path = findProgram(binary, directories) ?? ''
    const { mtimeMs, ino, size } = statSync(path)
    const key = [engine.name, path, mtimeMs, ino, size].join(' ')
    const asked = known.get(key) ?? ask(engine, path, directories)
    known.set(key, asked)
    const answer = await asked
    // What is mended without a new file must be found.
    if ('problem' in answer) known.delete(key)
    return answer
  }
}

/** In which of the directories that is; undefined: in none. */
export function findProgram(name: string, directories: readonly string[]): string | undefined {
  return directories
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, name))
    .find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

async function ask({ needs }: Engine, path: string, directories: readonly string[]): Promise<Presence> {
  const { versionWords = ['--version'], versionPattern = /(\d+(?:\.\d+)+)/, versionMin } = needs
  const said = await run(path, versionWords, directories)
  const version = versionPattern.exec(said)?.[1]
  if (version === undefined) return { problem: `${path} does not say its version: ${firstLine(said)}` }
  if (versionMin !== undefined && isOlder(version, versionMin))
    return { problem: `${path} is version ${version}, ${versionMin} or later is needed` }
  return { binary: path, version }
}

/** What it says, whatever its exit code. */
function run(path: string, words: readonly string[], directories: readonly string[]): Promise<string> {
  // Podman 5 says nothing without a directory for its settings.
  const home = { HOME: PACKED_ROOT, XDG_CONFIG_HOME: PACKED_ROOT }
  const env = { PATH: directories.join(':'), ...home, USER: 'nobody', LANG: 'C.UTF-8' }
  const options = { uid: NOBODY, gid: NOBODY, cwd: PACKED_ROOT, timeout: ASK_MS_MAX, env }
  return new Promise((resolve) => {
    try {
      const child = native.withoutForks(() =>
        execFile(path, words, options, (_, stdout, stderr) => resolve(`${stdout}${stderr}`)),
      )
      child.stdin?.end()
    } catch (error) {
      // Node throws where no memory is left to fork.
      resolve(messageOf(error))
    }
  })
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? ''
}
