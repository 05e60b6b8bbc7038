// SPDX-License-Identifier: Apache-2.0
/** Images that a daemon or store of the user's has (dockerd://, podman://), as enroot imports them: saved to a file first. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const DAEMON = /^(?:(docker)d|(podman)):\/\/(.+)$/

/**
 * What berth imports instead of the URI; the file is gone afterwards.
 * @param beside where it lies meanwhile: the worker opens it too, and a job may have a /tmp of its own
 * @throws Error when the program fails
 */
export async function withSource<T>(
  uri: string,
  beside: string,
  use: (source: string) => Promise<T>,
): Promise<T> {
  const [, docker, podman, image = ''] = DAEMON.exec(uri) ?? []
  const program = docker ?? podman
  if (program === undefined) return use(uri)
  const folder = mkdtempSync(join(beside, '.berth-enroot-'))
  try {
    const file = join(folder, 'image.tar')
    const format = podman === undefined ? [] : ['--format', 'docker-archive']
    await run(program, ['save', ...format, '-o', file, '--', image])
    return await use(`docker-archive:${file}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** It needs the rights and the surroundings of the user, which this process has. */
function run(program: string, words: string[]): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(program, words, { stdio: ['ignore', process.stderr, process.stderr] })
    child.on('error', (error) => fail(new Error(`${program}: ${error.message}`)))
    child.on('exit', (code, signal) =>
      code === 0 ? done() : fail(new Error(`${program} save ended with ${signal ?? code}`)),
    )
  })
}
