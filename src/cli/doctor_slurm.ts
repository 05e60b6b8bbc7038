// SPDX-License-Identifier: Apache-2.0
/** Does Slurm load this berth: slurm.conf → plugstack.conf (with its includes) → the line that names berth.so. */
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'
import { SLURM_CONFS } from '../launch/slurm_files.js'
import type { Places } from './command.js'
import type { Finding } from './doctor.js'
import { DIST } from './places.js'

/** An include that includes itself must end. */
const INCLUDE_DEPTH_MAX = 8
const VERSION_WAIT_MS_MAX = 5000

export interface PluginLine {
  file: string
  line: number
  required: boolean
  plugin: string
  args: string[]
}

export async function checkSlurm(places: Places): Promise<Finding[]> {
  const conf = await findSlurmConf()
  if (conf === undefined) {
    const fix = 'set SLURM_CONF, or run this on a host that Slurm is configured on'
    return [{ check: 'Slurm', state: 'warn', found: 'no slurm.conf found', fix }]
  }
  const plugstack = plugstackPath(conf.text, conf.path)
  const lines = await readPlugstack(plugstack)
  return [await checkVersion(conf.path), ...checkLines(lines, plugstack, places)]
}

/** Pure part, for tests: what the lines mean for this berth. */
export function checkLines(lines: readonly PluginLine[], plugstack: string, places: Places): Finding[] {
  const wanted = `required ${join(DIST, 'berth.so')}`
  const own = lines.find(({ plugin }) => basename(plugin) === 'berth.so')
  if (own === undefined) {
    return [
      {
        check: 'plugin',
        state: 'fail',
        found: `${plugstack} does not load berth.so`,
        fix: `add the line \`${wanted}\``,
      },
    ]
  }
  const place = `${own.file}:${own.line}`
  const findings: Finding[] = [
    own.required
      ? { check: 'plugin', state: 'ok', found: `${place} loads ${own.plugin}` }
      : {
          check: 'plugin',
          state: 'fail',
          found: `${place} loads it as optional: a step whose container fails would run on the host`,
          fix: `write \`${wanted}\``,
        },
  ]
  const rival = lines.find(({ plugin }) => /pyxis/.test(basename(plugin)))
  if (rival !== undefined) {
    findings.push({
      check: 'other plugins',
      state: 'fail',
      found: `${rival.file}:${rival.line} loads ${basename(rival.plugin)}, which registers the same options`,
      fix: 'keep one of the two lines',
    })
  }
  const named = own.args.find((argument) => argument.startsWith('runtime_dir='))?.slice('runtime_dir='.length)
  if (named !== undefined && named !== places.runtimeDir) {
    const fix = `berth doctor --runtime-dir=${named}`
    findings.push({ check: 'plugin place', state: 'warn', found: `${place} uses runtime_dir=${named}`, fix })
  }
  return findings
}

async function findSlurmConf(): Promise<{ path: string; text: string } | undefined> {
  const named = process.env.SLURM_CONF
  for (const path of named ? [named] : SLURM_CONFS) {
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text !== undefined) return { path, text }
  }
  return undefined
}

function plugstackPath(slurmConf: string, path: string): string {
  const named = /^\s*PlugStackConfig\s*=\s*(\S+)/im.exec(slurmConf)?.[1]
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

async function checkVersion(conf: string): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)('scontrol', ['--version'], { timeout: VERSION_WAIT_MS_MAX })
    return { check: 'Slurm', state: 'ok', found: `${stdout.trim()}, ${conf}` }
  } catch {
    const fix = 'install the Slurm client commands, or set PATH'
    return { check: 'Slurm', state: 'warn', found: `${conf}, but scontrol does not run`, fix }
  }
}
