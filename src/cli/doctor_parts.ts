// SPDX-License-Identifier: Apache-2.0
/** Is this berth whole: the files of dist/, and a Node.js that can run it. */
import { access, constants, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { DIST } from '../site/dist.js'
import type { Finding } from './doctor.js'

/** package.json "engines": the first release with the node:util parseArgs and test features used here. */
const NODE_MIN = [20, 17] as const
const PARTS = [
  'berth.so',
  'berth-exec',
  'berth-keeper',
  'berth-hold',
  'berth-init',
  'berth-tend',
  'bin/worker.js',
  'bin/importer.js',
] as const

export async function checkParts(): Promise<Finding[]> {
  return [await checkFiles(), checkNode(), await checkNodeLink()]
}

export async function berthVersion(): Promise<string> {
  const text = await readFile(join(DIST, '..', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

async function checkFiles(): Promise<Finding> {
  const missing: string[] = []
  for (const part of PARTS) {
    await access(join(DIST, part), constants.R_OK).catch(() => missing.push(part))
  }
  const version = await berthVersion().catch(() => 'unknown version')
  if (missing.length === 0) return { check: 'berth', state: 'ok', found: `${version} in ${DIST}` }
  return {
    check: 'berth',
    state: 'fail',
    found: `${DIST} lacks ${missing.join(', ')}`,
    fix: 'run `npm run build`',
  }
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const fits = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
  const found = `node ${process.versions.node}`
  if (fits) return { check: 'node', state: 'ok', found }
  return { check: 'node', state: 'fail', found, fix: `install Node.js ${NODE_MIN.join('.')} or later` }
}

/** The keeper starts the worker by this link, whatever PATH is. */
async function checkNodeLink(): Promise<Finding> {
  const link = join(DIST, 'node')
  try {
    const target = await realpath(link)
    await access(target, constants.X_OK)
    return { check: 'node link', state: 'ok', found: target }
  } catch {
    const fix = `ln -sfn "$(command -v node)" ${link}`
    return { check: 'node link', state: 'fail', found: `${link} leads nowhere`, fix }
  }
}
