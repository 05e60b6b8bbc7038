// SPDX-License-Identifier: Apache-2.0
/** Programs that the worker runs for a user are outside of the job: what they leave running must not outlive them. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { missingForNode, TestNode, until } from './node.js'

const test = suite('what users leave behind')
const missing = missingForNode()
/** A session and process group of its own, and no pipe of anybody's. */
const DETACH = (told: string) =>
  `setsid sh -c 'echo $$ >${told}; exec sleep 1000' >/dev/null 2>&1 &
until [ -s ${told} ]; do :; done`
let node: TestNode
let folder: string

function program(name: string, lines: string): string {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${lines}\n`)
  chmodSync(path, 0o755)
  return path
}

/** A file in which a user's program says which process it left. */
function toldFile(name: string): string {
  const path = join(folder, name)
  writeFileSync(path, '')
  chmodSync(path, 0o666)
  return path
}

function pidIn(told: string): number {
  return Number(readFileSync(told, 'utf8'))
}

test.before(() => {
  if (missing !== undefined) return
  folder = mkdtempSync('/run/berth-left-behind-')
  chmodSync(folder, 0o755)
  node = new TestNode({ importer: join(folder, 'importer') })
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  equal((await node.stop()).join('\n'), '')
  rmSync(folder, { recursive: true, force: true })
})

test.needs(missing, "a docker of the user's own PATH leaves nothing running", async () => {
  const told = toldFile('docker.pid')
  program('docker', `${DETACH(told)}\necho "no such thing" >&2; exit 3`)
  const step = node.step({
    options: ['container-image=dockerd://mine'],
    env: { PATH: `${folder}:/usr/bin:/bin` },
  })
  deepEqual(await step.run(), [125])
  match(step.stderr, /BERTH_EDOCKERD\]: .*: ended with exit status 3: no such thing\n/)
  const left = pidIn(told)
  await until('the end of what it left', () => !existsSync(`/proc/${left}`))
  step.end()
})

test.needs(missing, "a site's importer leaves nothing running", async () => {
  const told = toldFile('importer.pid')
  program('importer', `[ "$1" = release ] && exit 0\n${DETACH(told)}\necho ${node.image}`)
  const step = node.step({ options: ['container-image=x'], command: ['cat', '/etc/inside'] })
  deepEqual(await step.run(), [0], step.stderr)
  const left = pidIn(told)
  await until('the end of what it left', () => !existsSync(`/proc/${left}`))
  step.end()
})

test.needs(missing, 'a program that is ended may tidy up first; what it left ends with it', async () => {
  const [told, tidied] = [toldFile('slow.pid'), toldFile('tidied')]
  program(
    'importer',
    `[ "$1" = release ] && exit 0
trap 'echo tidy >${tidied}; exit' TERM
${DETACH(told)}
while :; do sleep 0.1; done`,
  )
  const step = node.step({ options: ['container-image=x'] })
  await until('the call', () => pidIn(told) !== 0)
  const left = pidIn(told)
  step.kill()
  await until('the end of what it left', () => !existsSync(`/proc/${left}`))
  equal(readFileSync(tidied, 'utf8'), 'tidy\n')
})

test.needs(missing, 'what runs for a user ends with the worker', async () => {
  const told = toldFile('orphan.pid')
  program('importer', `[ "$1" = release ] && exit 0\n${DETACH(told)}\nsleep 1000`)
  const step = node.step({ options: ['container-image=x'] })
  await until('the call', () => pidIn(told) !== 0)
  const left = pidIn(told)
  process.kill(await node.workerPid(), 'SIGKILL')
  await until('the end of what it left', () => !existsSync(`/proc/${left}`))
  step.kill()
})

test.run()
