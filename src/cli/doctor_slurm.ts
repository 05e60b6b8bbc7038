// SPDX-License-Identifier: Apache-2.0
/** Does Slurm load this berth: slurm.conf → plugstack.conf (with its includes) → the line that names berth.so. */
import { execFile } from 'node:child_process'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { DIST } from '../site/dist.js'
import type { Places } from './command.js'
import type { Finding } from './doctor.js'
import { findSlurmConf, isOwn, type PluginLine, plugstackPath, readPlugstack } from './plugin_line.js'

const VERSION_WAIT_MS_MAX = 5000

export async function checkSlurm(places: Places): Promise<Finding[]> {
  const conf = await findSlurmConf()
  if (conf === undefined) {
    const fix = 'set SLURM_CONF, or run this on a host that Slurm is configured on'
    return [{ check: 'Slurm', state: 'warn', found: 'no slurm.conf found', fix }]
  }
  const plugstack = plugstackPath(conf)
  const lines = await readPlugstack(plugstack)
  return [await checkVersion(conf.path), ...checkLines(lines, plugstack, places)]
}

/** Pure part, for tests: what the lines mean for this berth. */
export function checkLines(lines: readonly PluginLine[], plugstack: string, places: Places): Finding[] {
  const wanted = `required ${join(DIST, 'berth.so')}`
  const own = lines.find(isOwn)
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

async function checkVersion(conf: string): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)('scontrol', ['--version'], { timeout: VERSION_WAIT_MS_MAX })
    return { check: 'Slurm', state: 'ok', found: `${stdout.trim()}, ${conf}` }
  } catch {
    const fix = 'install the Slurm client commands, or set PATH'
    return { check: 'Slurm', state: 'warn', found: `${conf}, but scontrol does not run`, fix }
  }
}
