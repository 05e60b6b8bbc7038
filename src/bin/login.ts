#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** What the user's own helpers say about a registry: HOST REPOSITORY [USER] to JSON on stdout, a pipe to who asked. */
import { answerLogin } from '../image/login.js'
import { endPrograms } from '../image/own_program.js'

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
  process.on(signal, () => {
    endPrograms()
    process.exit(1)
  })
const [host = '', repository = '', user] = process.argv.slice(2)
process.stdout.write(await answerLogin({ host, repository, user }))
