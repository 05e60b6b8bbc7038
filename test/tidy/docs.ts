// SPDX-License-Identifier: Apache-2.0
/** Docs may not drift: paths they name exist, and every error code that exists is documented and thrown somewhere. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ERRORS } from '../../src/report/errors.js'
import { type Finding, ROOT, type Source } from './sources.js'

/** A path of this repository: starts with one of its top-level folders. */
const PATH = /`((?:slurm|native|src|test|docs|\.ci)\/[\w./*{},-]*)`/g
/** Made by the build or by a run, hence not in a clean tree. */
const MADE = /^(dist|slurm\/build|test\/.*\/tmp)/

export function checkDocs(sources: readonly Source[]): Finding[] {
  const pages = sources.filter(({ extension }) => extension === '.md')
  return [...pages.flatMap(checkPaths), ...pages.flatMap(checkLinks), ...checkErrorCodes(sources)]
}

function checkPaths({ path, text }: Source): Finding[] {
  return [...text.matchAll(PATH)]
    .map((match) => (match[1] ?? '').replace(/[.,]$/, ''))
    .filter((named) => !/[*{]/.test(named) && !MADE.test(named) && !existsSync(join(ROOT, named)))
    .map((named) => ({ path, problem: `names ${named}, which is not there` }))
}

function checkLinks({ path, text }: Source): Finding[] {
  return [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !existsSync(join(ROOT, dirname(path), target)))
    .map((target) => ({ path, problem: `links to ${target}, which is not there` }))
}

function checkErrorCodes(sources: readonly Source[]): Finding[] {
  const page = sources.find(({ path }) => path === 'docs/errors.md')
  const table = 'src/report/errors.ts'
  const isTable = (path: string) => /^src\/report\/(\w+_)?errors\.ts$/.test(path)
  if (page === undefined)
    return [{ path: 'docs/errors.md', problem: 'is not there; it is generated from the error table' }]
  const code = sources.filter(({ path }) => /^(src|slurm|native)\//.test(path) && !isTable(path))
  return Object.keys(ERRORS).flatMap((name) => [
    ...(page.text.includes(name) ? [] : [{ path: page.path, problem: `does not document ${name}` }]),
    ...(code.some(({ text }) => text.includes(name))
      ? []
      : [{ path: table, problem: `${name} is reported nowhere` }]),
  ])
}
