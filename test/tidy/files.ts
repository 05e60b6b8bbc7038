// SPDX-License-Identifier: Apache-2.0
/** Rules on one file at a time: length, licence line, exports, words that must not be committed. */
import type { Finding, Source } from './sources.js'

const CODE = new Set(['.ts', '.c', '.h', '.cc', '.hh', '.sh'])
const LINES_MAX = 400
const LINES_ADVISED = 300
const FOLDER_NAMES_BANNED = /(^|\/)(utils?|helpers?|common|managers?)(\/|\.[a-z]+$)/
/** Package mirrors and registries by proxy belong to one machine's set-up, never to the repository. */
const HOSTS_BANNED =
  /\b(artifactory|nexus|pkg\.dev|pythonhosted-mirror|npmmirror|taobao|codeartifact|jfrog)\b/i
const LOCK_HOSTS_ALLOWED = /^https:\/\/registry\.npmjs\.org\//

export function checkFiles(sources: readonly Source[]): Finding[] {
  return sources.flatMap((source) => [
    ...checkLength(source),
    ...checkLicence(source),
    ...checkExports(source),
    ...checkNames(source),
    ...checkLock(source),
  ])
}

function checkLength({ path, extension, text }: Source): Finding[] {
  if (!CODE.has(extension)) return []
  const lines = text.split('\n').length - 1
  if (lines > LINES_MAX) return [{ path, problem: `${lines} lines, at most ${LINES_MAX}` }]
  if (lines > LINES_ADVISED)
    return [{ path, problem: `${lines} lines, better below ${LINES_ADVISED}`, warning: true }]
  return []
}

function checkLicence({ path, extension, text }: Source): Finding[] {
  if (!CODE.has(extension)) return []
  const head = text.split('\n').slice(0, 2).join('\n')
  return head.includes('SPDX-License-Identifier: Apache-2.0')
    ? []
    : [{ path, problem: 'no SPDX-License-Identifier: Apache-2.0 on its first lines' }]
}

function checkExports({ path, extension, text }: Source): Finding[] {
  return extension === '.ts' && /^export default\b/m.test(text) ? [{ path, problem: 'default export' }] : []
}

function checkNames({ path, text }: Source): Finding[] {
  const findings: Finding[] = []
  if (FOLDER_NAMES_BANNED.test(path))
    findings.push({ path, problem: 'name says nothing about what is inside' })
  const host = path.startsWith('test/tidy/') ? null : HOSTS_BANNED.exec(text)
  if (host !== null) findings.push({ path, problem: `names a package mirror (${host[0]})` })
  return findings
}

function checkLock({ path, text }: Source): Finding[] {
  if (path !== 'package-lock.json') return []
  const hosts = [...text.matchAll(/"resolved": "([^"]+)"/g)].map((match) => match[1] ?? '')
  const foreign = hosts.find((url) => !LOCK_HOSTS_ALLOWED.test(url))
  return foreign === undefined
    ? []
    : [{ path, problem: `resolved elsewhere than the public registry: ${foreign}` }]
}
