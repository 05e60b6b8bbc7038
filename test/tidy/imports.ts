// SPDX-License-Identifier: Apache-2.0
/** Rooms of src/ in the order in which a step's data flows: imports point up the list or to a serving room; no cycle. */
import { dirname, join } from 'node:path'
import type { Finding, Source } from './sources.js'

const ROOMS = ['bin', 'errands', 'step', 'worker', 'request', 'image', 'store', 'plan', 'engine', 'launch']
/** They serve all rooms and import none but each other. */
const SERVING = new Set(['site', 'report', 'native'])
/** Entries, the story, and what is asked without one know every room. */
const FREE = new Set(['bin', 'errands', 'step', 'cli'])
/** The wire format and the plain data that rooms hand each other are contracts, open to all. */
const CONTRACTS = new Set([
  'src/worker/frame.ts',
  'src/request/request.ts',
  'src/image/image.ts',
  'src/plan/spec.ts',
])

const ROOT_ENTRY = 'src/bin/worker.ts'
const NETWORK_IMPORT = /^import (?!type)[^;'"]*? from 'undici'/m

interface Import {
  from: string
  to: string
  typeOnly: boolean
}

export function checkImports(sources: readonly Source[]): Finding[] {
  const files = sources.filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'))
  const imports = files.flatMap(readImports)
  const known = new Set(files.map(({ path }) => path))
  return [
    ...imports
      .filter(({ to }) => !known.has(to))
      .map(({ from, to }) => ({ path: from, problem: `imports ${to}, which is not there` })),
    ...imports.flatMap(checkDirection),
    ...findCycles(imports.filter(({ typeOnly }) => !typeOnly)),
    ...checkRoot(files, imports),
    ...checkDoors(sources),
  ]
}

function readImports({ path, text }: Source): Import[] {
  const pattern = /^(?:import|export)\s+(type\s)?[^;'"]*?from\s+'(\.[^']+)'/gm
  return [...text.matchAll(pattern)].map((match) => ({
    from: path,
    to: join(dirname(path), match[2] ?? '').replace(/\.js$/, '.ts'),
    typeOnly: match[1] !== undefined,
  }))
}

function roomOf(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.ts$/, '')
}

function checkDirection({ from, to, typeOnly }: Import): Finding[] {
  const [mine, theirs] = [roomOf(from), roomOf(to)]
  if (mine === theirs || FREE.has(mine) || SERVING.has(theirs) || CONTRACTS.has(to) || typeOnly) return []
  const wrong = SERVING.has(mine) || ROOMS.indexOf(theirs) > ROOMS.indexOf(mine)
  return wrong ? [{ path: from, problem: `room ${mine} imports down, from ${theirs} (${to})` }] : []
}

/** What reads the network is the importers'; the worker, which is root, does not even load it. */
function checkRoot(files: readonly Source[], imports: readonly Import[]): Finding[] {
  const loaded = new Set([ROOT_ENTRY])
  // A set is walked on while it grows.
  for (const path of loaded)
    for (const { from, to, typeOnly } of imports) if (from === path && !typeOnly) loaded.add(to)
  return files
    .filter(({ path, text }) => loaded.has(path) && NETWORK_IMPORT.test(text))
    .map(({ path }) => ({ path, problem: `is loaded by ${ROOT_ENTRY} and loads undici` }))
}

/** Each cycle is told once, by its first file. */
function findCycles(imports: readonly Import[]): Finding[] {
  const edges = new Map<string, string[]>()
  for (const { from, to } of imports) edges.set(from, [...(edges.get(from) ?? []), to])
  const state = new Map<string, 'open' | 'done'>()
  const findings: Finding[] = []
  const visit = (path: string, trail: string[]): void => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      findings.push({
        path,
        problem: `import cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}`,
      })
      return
    }
    state.set(path, 'open')
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of edges.keys()) visit(path, [])
  return findings
}

/** Three doors: the addon only through src/native.ts, the test library only through test/suite.ts, TypeScript only. */
function checkDoors(sources: readonly Source[]): Finding[] {
  return sources.flatMap(({ path, text }) => {
    if (
      path.startsWith('src/') &&
      path !== 'src/native.ts' &&
      /(require|from|import)\b.*berth\.node['"]/.test(text)
    ) {
      return [{ path, problem: 'loads the addon itself; use src/native.ts' }]
    }
    if (path.endsWith('.test.ts') && /from 'uvu'/.test(text)) {
      return [{ path, problem: 'imports uvu; use test/suite.ts' }]
    }
    return []
  })
}
