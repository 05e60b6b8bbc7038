// SPDX-License-Identifier: Apache-2.0
/** A program of another Debian suite, from the mirror that this machine's apt uses; nothing is installed. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** The first mirror of sources in either spelling (sources.list(5)). */
function mirror(): string | undefined {
  const folder = '/etc/apt/sources.list.d'
  const files = ['/etc/apt/sources.list', ...fs.readdirSync(folder).map((name) => join(folder, name))]
  const texts = files.filter((path) => fs.existsSync(path)).map((path) => fs.readFileSync(path, 'utf8'))
  const found = texts.flatMap((text) => /^(?:URIs:|deb(?: \[.*\])?)\s+(\S+)/m.exec(text)?.[1] ?? [])
  return found[0]
}

/**
 * Unpacks a package into `directory`, which is new. Answers its version, or undefined where the suite cannot be had.
 */
export function unpackOf(suite: string, name: string, directory: string): string | undefined {
  const uri = mirror()
  if (uri === undefined || !fs.existsSync(KEYRING)) return undefined
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'files'])
    fs.mkdirSync(join(directory, part), { recursive: true })
  const sources = join(directory, 'sources.list')
  fs.writeFileSync(sources, `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`)
  // With no package installed the suite's own version is the candidate.
  const status = join(directory, 'status')
  fs.writeFileSync(status, '')
  const settings = [
    ...[`Dir::State=${join(directory, 'state')}`, `Dir::Cache=${join(directory, 'cache')}`],
    ...[`Dir::State::status=${status}`, `Dir::Etc::sourcelist=${sources}`, 'Dir::Etc::sourceparts=/dev/null'],
    ...['APT::Sandbox::User=root', 'Acquire::Languages=none', 'Acquire::Retries=5'],
  ].flatMap((setting) => ['-o', setting])
  for (const words of [['update'], ['download', name]]) {
    const done = spawnSync('apt-get', [...settings, '-qq', ...words], { cwd: directory })
    if (done.status !== 0) return undefined
  }
  const deb = fs.readdirSync(directory).find((file) => file.endsWith('.deb'))
  if (deb === undefined) return undefined
  const unpacked = spawnSync('dpkg-deb', ['-x', join(directory, deb), join(directory, 'files')])
  return unpacked.status === 0 ? deb.split('_')[1] : undefined
}
