// SPDX-License-Identifier: Apache-2.0
/** The house rules a machine can hold (CONTRIBUTING.md). Prints `path: what is wrong`; exits 1 if any. */

import { checkDocs } from './tidy/docs.js'
import { checkUnusedExports } from './tidy/exports.js'
import { checkFiles } from './tidy/files.js'
import { checkFormat } from './tidy/format.js'
import { checkImports } from './tidy/imports.js'
import { readSources } from './tidy/sources.js'

const sources = readSources()
const findings = [checkFiles, checkImports, checkUnusedExports, checkDocs, checkFormat].flatMap((check) =>
  check(sources),
)
const errors = findings.filter((finding) => !finding.warning)
for (const { path, problem, warning } of findings) {
  process.stdout.write(`${warning === true ? 'warning: ' : ''}${path}: ${problem}\n`)
}
process.stdout.write(`tidy: ${sources.length} files, ${errors.length} errors\n`)
process.exitCode = errors.length > 0 ? 1 : 0
