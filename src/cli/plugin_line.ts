// SPDX-License-Identifier: Apache-2.0
/** Where Slurm is told of berth: slurm.conf → plugstack.conf (with its includes) → the line that names berth.so. */
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { SLURM_CONFS } from '../launch/slurm_files.js'
import { KEYS } from '../site/keys.js'
import type { Places } from './command.js'

/** An include that includes itself must end. */
const INCLUDE_DEPTH_MAX = 8

export interface PluginLine {
  file: string
  line: number
  required: boolean
  plugin: string
  args: string[]
}

interface SlurmConf {
  path: string
  text: string
}

/**
 * Arguments of a keeper as the plugin of this node would start it: what its line says, what it forbids too, holds
 * whoever needs the worker first. Other directories than that line's are another instance, with nothing but its files.
 */
export async function keeperArguments(places: Places): Promise<string[]> {
  const settings = Object.entries(await settingsHere(places))
  return settings.map(([key, value]) => `--${key.replace('runtime_dir', 'runtime-dir')}=${value}`)
}

/** For loadSite: what a worker of these places is told besides its files, as keeperArguments. */
export async function settingsHere({ runtimeDir, store, config }: Places): Promise<Record<string, string>> {
  const { config: named, ...said } = settingsOf(await ownLine(runtimeDir))
  return {
    ...said,
    // The default file need not exist, also where the line names it.
    ...(named === undefined || named === KEYS.config.default ? {} : { config: named }),
    runtime_dir: runtimeDir,
    ...(store === undefined ? {} : { store }),
    ...(config === undefined ? {} : { config }),
  }
}

/** Of the first line that is berth's; the default where it says nothing that can be used. */
export async function ownRuntimeDir(): Promise<string> {
  return runtimeDirOf((await ownLines())[0])
}

/** Berth's line in plugstack.conf that has this runtime directory. */
export async function ownLine(runtimeDir: string): Promise<PluginLine | undefined> {
  return (await ownLines()).find((line) => runtimeDirOf(line) === runtimeDir)
}

/** KEY=VALUE arguments. */
export function settingsOf(line: PluginLine | undefined): Record<string, string> {
  return Object.fromEntries((line?.args ?? []).flatMap(splitArgument))
}

/** What the plugin refuses: each step with a container fails with it. */
export function wordsWithoutValue(line: PluginLine | undefined): string[] {
  return (line?.args ?? []).filter((argument) => !argument.includes('='))
}

async function ownLines(): Promise<PluginLine[]> {
  const conf = await findSlurmConf()
  return conf === undefined ? [] : (await readPlugstack(plugstackPath(conf))).filter(isOwn)
}

function runtimeDirOf(line: PluginLine | undefined): string {
  const named = settingsOf(line).runtime_dir ?? ''
  return isAbsolute(named) ? resolve(named) : KEYS.runtime_dir.default
}

function splitArgument(argument: string): [string, string][] {
  const equals = argument.indexOf('=')
  return equals < 0 ? [] : [[argument.slice(0, equals), argument.slice(equals + 1)]]
}

export function isOwn({ plugin }: PluginLine): boolean {
  return basename(plugin) === 'berth.so'
}

export async function findSlurmConf(): Promise<SlurmConf | undefined> {
  const named = process.env.SLURM_CONF
  for (const path of named ? [named] : SLURM_CONFS) {
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text !== undefined) return { path, text }
  }
  return undefined
}

export function plugstackPath({ path, text }: SlurmConf): string {
  const named = /^\s*PlugStackConfig\s*=\s*(\S+)/im.exec(text)?.[1]
  return named ?? join(dirname(path), 'plugstack.conf')
}

/** Lines in the order Slurm reads them; `include` takes a path with wildcards in its last part. */
export async function readPlugstack(path: string, depth = 0): Promise<PluginLine[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const lines: PluginLine[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const [word, target, ...args] = raw.replace(/#.*/, '').trim().split(/\s+/)
    if (word === undefined || target === undefined) continue
    if (word === 'include' && depth < INCLUDE_DEPTH_MAX) {
      for (const file of await expand(isAbsolute(target) ? target : join(dirname(path), target)))
        lines.push(...(await readPlugstack(file, depth + 1)))
    } else if (word === 'required' || word === 'optional') {
      lines.push({ file: path, line: index + 1, required: word === 'required', plugin: target, args })
    }
  }
  return lines
}

async function expand(pattern: string): Promise<string[]> {
  if (!/[*?]/.test(basename(pattern))) return [pattern]
  const escaped = basename(pattern).replace(/[.+^${}()|[\]\\]/g, '\\$&')
  const matcher = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`)
  const names = await readdir(dirname(pattern)).catch(() => [])
  return names
    .filter((name) => matcher.test(name))
    .sort()
    .map((name) => join(dirname(pattern), name))
}
