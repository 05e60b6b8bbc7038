// SPDX-License-Identifier: Apache-2.0
/** Can the settings be used, those of berth's line in plugstack.conf too; and were they given to the worker that runs. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { BerthError } from '../report/errors.js'
import { isKey, KEYS, keyRow, PYXIS_KEYS } from '../site/keys.js'
import { loadSite, type Site } from '../site/site.js'
import type { WorkerStatus } from '../worker/status.js'
import { lineProblems, siteProblems } from './check.js'
import { checkLines } from './check_lines.js'
import type { Places } from './command.js'
import type { Finding } from './doctor.js'
import { type PluginLine, settingsOf } from './plugin_line.js'

/** Whether or not a worker runs, which would say the same to each step. */
export async function checkSettings(site: Site, places: Places): Promise<Finding[]> {
  const check = 'settings'
  const fix = 'correct the line; `berth check` reads all again'
  const errors = [...(await lineProblems({ places })), ...(await problemsOf(site))]
  const findings = [
    ...errors.map(({ message }): Finding => ({ check, state: 'fail', found: message, fix })),
    ...site.warnings.map((found): Finding => ({ check, state: 'warn', found, fix })),
  ]
  const file = site.get('config')
  const found = existsSync(file) ? `${file} can be used` : `no ${file}: defaults`
  return findings.length > 0 ? findings : [{ check, state: 'ok', found }]
}

/** Without the addon, which has a line of its own, what the files say by themselves. The shared store has one too. */
async function problemsOf(site: Site): Promise<BerthError[]> {
  const problems = await siteProblems(site).catch(() => [...site.errors, ...checkLines(site)])
  return problems.filter(({ code }) => code !== 'BERTH_ESHARED')
}

/** A worker of systemd is given no arguments of plugstack.conf, and one of a keeper those of when the keeper began. */
export function checkArguments(
  { given, pid, config }: WorkerStatus,
  line: PluginLine | undefined,
  { runtimeDir }: Places,
): Finding[] {
  if (given === undefined || line === undefined) return []
  const files = loadSite({ config })
  const missing = Object.entries(settingsOf(line)).filter(([name, value]) => {
    const key = PYXIS_KEYS[name] === undefined ? name : PYXIS_KEYS[name].as
    if (key === undefined || !isKey(key) || (keyRow(key).lineOnly && key !== 'config')) return false
    if (key === 'config' && value === KEYS.config.default) return false
    return given[name] !== value && !files.lines.some((one) => one.key === key && one.value === value)
  })
  if (missing.length === 0) return []
  const said = missing.map(([name, value]) => `${name}=${value}`).join(' ')
  const keeper = join(runtimeDir, 'keeper.pid')
  const fix = existsSync(keeper)
    ? `kill $(cat ${keeper}): running steps go on, and the next step starts a worker with it`
    : 'put it into berth.conf, config= into the unit: systemd gives a worker no arguments of plugstack.conf'
  const found = `the worker (pid ${pid}) was started without ${said} of ${line.file}:${line.line}`
  return [{ check: 'arguments', state: 'warn', found, fix }]
}
