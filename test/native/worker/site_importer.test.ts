// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: mounts spell variables this way
/** A site's own importer, as it was written for pyxis: called as the user, believed no more than the user. */
import { deepEqual, equal, match } from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { processAlive } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { missingForNode, TestNode, UID, until } from './node.js'

const test = suite("a site's importer")
const missing = missingForNode()
const REFERENCE = 'registry.invalid/team/app:1'
let node: TestNode
let folder: string
let told: string

test.before(() => {
  if (missing !== undefined) return
  folder = mkdtempSync('/run/berth-site-importer-')
  chmodSync(folder, 0o755)
  const program = join(folder, 'importer')
  told = join(folder, 'told')
  writeFileSync(told, '')
  chmodSync(told, 0o666)
  node = new TestNode({ importer: program })
  writeFileSync(
    program,
    `#!/bin/sh
echo "$*" $(id -u) $(id -G) "$SLURM_JOB_UID $SLURM_JOB_ID.$SLURM_STEP_ID $PYXIS_VERSION \${LD_PRELOAD:-none}" >>${told}
touch "$PYXIS_RUNTIME_PATH/$SLURM_JOB_UID/mine" || exit 9
case "$2" in
*broken*) echo looking >&2; echo "no such thing" >&2; exit 3 ;;
*silent*) exit 0 ;;
*slow*) sleep 1000 ;;
*daemon*) sleep 1000 & ;;
esac
[ "$1" = release ] || { echo "some talk"; echo ${node.image}; }
`,
  )
  chmodSync(program, 0o755)
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  equal((await node.stop()).join('\n'), '')
  rmSync(folder, { recursive: true, force: true })
})

function calls(): string[] {
  return readFileSync(told, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}

test.needs(missing, 'get brings the image, release is called at the end, both as the user', async () => {
  const env = { LD_PRELOAD: '/nowhere.so' }
  const step = node.step({
    options: [`container-image=${REFERENCE}`, 'container-mounts=/tmp:/${LD_PRELOAD}'],
    command: ['cat', '/etc/inside'],
    env,
  })
  deepEqual(await step.run(2), [0, 0], step.stderr)
  step.end()
  await until('the release', () => calls().length === 2)
  const [get = '', release = ''] = calls()
  match(get, new RegExp(`^get docker://${REFERENCE} ${UID} ${UID} ${UID} \\d+\\.\\d+ 0\\.24\\.0 none$`))
  match(release, new RegExp(`^release ${UID} `))
  const own = join(node.runtime, 'importer', String(UID))
  deepEqual([statSync(own).uid, statSync(own).mode & 0o777], [UID, 0o700])
})

test.needs(missing, 'what it says on failure reaches the user', async () => {
  const step = node.step({ options: ['container-image=broken'] })
  deepEqual(await step.run(), [125])
  match(
    step.stderr,
    /error\[BERTH_ESITEIMPORTER\]: failed to import docker image: broken: the importer of this site, \S+\/importer, ended with exit status 3: looking; no such thing\n/,
  )
  const silent = node.step({ options: ['container-image=silent'] })
  deepEqual(await silent.run(), [125])
  match(silent.stderr, /printed no absolute path/)
})

test.needs(missing, 'a process that it leaves behind holds nothing up', async () => {
  const step = node.step({ options: ['container-image=daemon'], command: ['cat', '/etc/inside'] })
  deepEqual(await step.run(), [0], step.stderr)
  step.end()
  await until('the release', () => calls().at(-1)?.startsWith('release') === true)
})

test.needs(missing, 'the end of the step ends it', async () => {
  const step = node.step({ options: ['container-image=slow'] })
  await until('the call', () => calls().some((line) => line.includes('slow')))
  step.kill()
  await until('the release', () => calls().at(-1)?.startsWith('release') === true)
})

test.needs(missing, 'the next worker tells it of a step that ended while none ran', async () => {
  const before = calls().length
  const step = node.step({ options: [`container-image=${REFERENCE}`], command: ['sleep', '1000'] })
  step.start(0)
  await until('the call', () => calls().length > before)
  const pid = await node.workerPid()
  process.kill(pid, 'SIGKILL')
  step.kill()
  await until('the end of both', () => !processAlive(pid) && !processAlive(step.pid))
  const releases = () => calls().filter((line) => line.startsWith('release')).length
  const toldBefore = releases()
  // A worker that died earlier may have got no further than this.
  const own = join(node.runtime, 'importer', String(UID))
  chownSync(own, 0, 0)
  equal(node.cli('ps').status, 0)
  await until('the release', () => releases() > toldBefore)
  deepEqual([statSync(own).uid, statSync(own).mode & 0o777], [UID, 0o700])
})

test.needs(missing, 'files that are there need no importer', async () => {
  const before = calls().length
  const step = node.step({ command: ['true'] })
  deepEqual(await step.run(), [0], step.stderr)
  equal(calls().length, before)
  equal(existsSync(node.image), true)
})

test.run()
