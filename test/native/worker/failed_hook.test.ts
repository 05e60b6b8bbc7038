// SPDX-License-Identifier: Apache-2.0
/** A hook that fails ends its container: a step that waits for the same name gets one of its own. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { missingForNode, TestNode, until } from './node.js'
import type { TestStep } from './stand_in.js'

const test = suite('hooks of named containers')
const missing = missingForNode()
let folder: string
let node: TestNode

/** Fails for the first who comes, and not before it is told to. */
const HOOK = (out: string): string => `#!/bin/sh
cat >/dev/null
mkdir ${out}/first 2>/dev/null || exit 0
until [ -e ${out}/go ]; do sleep 0.05; done
echo "not now" >&2
exit 3
`

test.before(() => {
  if (missing !== undefined) return
  folder = mkdtempSync('/run/berth-failed-hook-')
  chmodSync(folder, 0o755)
  for (const name of ['out', 'hooks']) mkdirSync(join(folder, name))
  chmodSync(join(folder, 'out'), 0o777)
  writeFileSync(join(folder, 'hook'), HOOK(join(folder, 'out')), { mode: 0o755 })
  const hook = { path: join(folder, 'hook'), args: ['hook'], timeout: 60 }
  const file = { version: '1.0.0', hook, when: { always: true }, stages: ['createRuntime'] }
  writeFileSync(join(folder, 'hooks/x.json'), JSON.stringify(file))
  const config = join(folder, 'berth.conf')
  writeFileSync(config, `hooks_allow = ${folder}/hook\n[profile hooked]\nhooks = ${folder}/hooks\n`)
  node = new TestNode({ config })
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  equal((await node.stop()).join('\n'), '')
  rmSync(folder, { recursive: true, force: true })
})

function named(): TestStep {
  return node.step({
    options: [`container-image=${node.image}`, 'container-name=x', 'container-profile=hooked'],
    command: ['sh', '-c', 'echo mine >/mine && cat /mine'],
  })
}

/** The launcher has asked and is in poll(2). */
function waits(step: TestStep): boolean {
  const pid = step.pids.get(0)
  return pid !== undefined && /poll/.test(readFileSync(`/proc/${pid}/wchan`, 'utf8'))
}

test.needs(missing, 'who waits for its turn does not get what a hook has refused', async () => {
  const first = named()
  first.start(0)
  await until('the hook', () => existsSync(join(folder, 'out/first')))
  const second = named()
  second.start(0)
  await until('the second step in line', () => waits(second))
  writeFileSync(join(folder, 'out/go'), '')
  equal(await first.exit(), 125)
  match(first.stderr, /BERTH_EHOOK.*exit code 3; it said: not now/)
  deepEqual([await second.exit(), second.stdout], [0, 'mine\n'], second.stderr)
  for (const step of [first, second]) step.end()
})

test.run()
