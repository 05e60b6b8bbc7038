// SPDX-License-Identifier: Apache-2.0
/** Engines that are missing, fail, hang or lose their worker: what is said, and that nothing is left. */
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { must, run, until } from '../cluster/command.js'
import { processAlive, sendSignal } from '../cluster/daemon.js'
import { exits, prints, refuses, says } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import { otherRelease } from '../cluster/images.js'
import { processesOf } from '../cluster/leftovers.js'
import { USER_A } from '../cluster/users.js'
import { suite } from '../suite.js'
import { without } from './engines.js'

const test = suite('engines in trouble')
/** Where this cluster looks for engines, and nowhere else. */
const DIR = `/var/tmp/berth-engines-${process.pid}`
const at = useCluster(test, {
  nodes: [{}],
  berthConf: [
    `engine_path = ${DIR}`,
    'engine_args = allow',
    'engines = native, crun, charliecloud, runc',
    'engine_partitions = all=runc, other=native',
    '',
  ].join('\n'),
})
const codename = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']

test.before(() => {
  mkdirSync(DIR, { mode: 0o755 })
  standIn('ch-run', '0.99', '/bin/sleep 1000 & /bin/sleep 1000')
  standIn('runc', 'runc version 1.99', 'echo "no space on the moon" >&2; exit 1')
})
test.after(() => rmSync(DIR, { recursive: true, force: true }))

/** Says its version, else does `script`. */
function standIn(name: string, version: string, script: string): void {
  const path = join(DIR, name)
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] && echo "${version}" && exit\n${script}\n`)
  chmodSync(path, 0o755)
}

function step(...words: string[]): string[] {
  return ['-n1', `--container-image=${at.images.debian}`, ...words]
}

test('one that is not there is named, with how to install it; auto passes it by', async () => {
  const seen = await at.cluster.srun(step('--container-engine=crun', 'touch', 'ran'))
  says(refuses(exits(seen, 125), /BERTH_EENGINEMISSING.*no crun in/), /hint: apt install crun/)
  prints(await at.cluster.srun(step('--container-engine=auto', ...codename)), [otherRelease()])
})

test('one that is too old is refused with both versions; auto passes it by', async () => {
  standIn('crun', 'crun version 1.4.3', 'echo ran; exit 1')
  const seen = await at.cluster.srun(step('--container-engine=crun', 'touch', 'ran'))
  refuses(exits(seen, 125), /BERTH_EENGINEMISSING.*\/crun is version 1\.4\.3, 1\.8 or later is needed/)
  prints(await at.cluster.srun(step('--container-engine=auto', ...codename)), [otherRelease()])
  rmSync(join(DIR, 'crun'))
})

test('explain shows why an engine was chosen, and the command line that would start it', async () => {
  const explain = async (engine: string) => {
    const words = step(
      `--container-engine=${engine}`,
      '--container-explain',
      '--container-engine-args=--word',
    )
    return JSON.parse(exits(await at.cluster.srun([...words, 'true']), 0).stdout).berth
  }
  const chosen = await explain('auto')
  assert.is(chosen.engine, 'charliecloud')
  assert.match(
    chosen.engineChoice.reason,
    /auto: .*, passed by: native \(cannot --container-engine-args\); crun \(no crun in/,
  )
  assert.is(chosen.engineChoice.origin, '--container-engine')
  const { command, version, runsAs, environment } = chosen.engineStart
  assert.is(version, '0.99')
  assert.is(runsAs, USER_A.name)
  assert.is(environment.HOME, `/home/${USER_A.name}`)
  assert.match(command.join(' '), /^\S+\/ch-run --write .*--word \S+\/root -- \/\.berth-hold NAME$/)
  assert.is((await explain('runc')).engineChoice.reason, 'named')
})

test("a partition's own engine fails in its own words, and nothing runs on the host", async () => {
  const seen = await at.cluster.srun(step('sh', '-c', 'echo ran'))
  refuses(exits(seen, 125), /engine runc did not start: exit code 1 .*no space on the moon/)
  prints(await at.cluster.srun(step('--container-engine=native', ...codename)), [otherRelease()])
})

test('one that hangs ends with its step, whatever it has forked', async () => {
  const words = step('-J', 'hangs', '--container-engine=charliecloud', 'true')
  const hanging = at.cluster.start(['srun', ...words])
  await until('two processes', () => sleepers() === 2)
  exits(await run(['scancel', '-n', 'hangs'], { env: { SLURM_CONF: at.cluster.conf } }), 0)
  await hanging.done
  await until('the end of both', () => sleepers() === 0)
})

/** The stand-in's processes. */
function sleepers(): number {
  const list = processesOf('/bin/sleep 1000')
  return list.filter((line) => environ(line).includes(at.cluster.dir)).length
}

function environ(line: string): string {
  try {
    return readFileSync(`/proc/${line.split(' ')[1]}/environ`, 'utf8')
  } catch {
    return ''
  }
}

test.needs(without('crun'), 'it is found as soon as it is installed, and takes words', async () => {
  symlinkSync('/usr/bin/crun', join(DIR, 'crun'))
  const words = ['--container-engine=crun', '--container-engine-args=--debug --log=/dev/null']
  prints(await at.cluster.srun(step(...words, ...codename)), [otherRelease()])
  const wrong = ['--container-engine=crun', '--container-engine-args=--no-such-word']
  refuses(await at.cluster.srun(step(...wrong, 'true')), /BERTH_EENGINESTART.*no-such-word/)
})

test.needs(without('crun'), 'kill -9 of the worker: the task goes on, the engine goes', async () => {
  const script = 'echo up; while [ ! -e go ]; do sleep 0.1; done; cat /etc/os-release'
  const mount = `--container-mounts=${at.cluster.shared}:/shared`
  const words = step('--container-engine=crun', mount, '--container-workdir=/shared', 'sh', '-c', script)
  const running = at.cluster.start(['srun', ...words])
  await running.sees(/up/)
  const pid = at.cluster.nodes[0]?.workerPid() ?? 0
  sendSignal(pid, 'SIGKILL')
  await until('the end of the engine', () => processesOf(join(DIR, 'crun')).length === 0)
  await until('the end of the worker', () => !processAlive(pid))
  await must(['touch', join(at.cluster.shared, 'go')])
  says(exits(await running.done, 0), new RegExp(otherRelease()))
  prints(await at.cluster.srun(step('--container-engine=crun', ...codename)), [otherRelease()])
})

test.run()
