// SPDX-License-Identifier: Apache-2.0
/** Jobs of slurmrestd meet no plugin at submit: all that they say is in the variables of the job. */
import assert from 'node:assert/strict'
import { formatEdf } from '../../src/request/edf.js'
import { parseRequest } from '../../src/request/grammar.js'
import { environmentSuffix, OPTIONS, type OptionName, optionRow } from '../../src/request/options.js'
import type { Request } from '../../src/request/request.js'
import { suite } from '../suite.js'

const test = suite('every option as a variable of the job')

/** A value that each option takes, other than its default. */
const VALUES: Readonly<Record<string, string>> = {
  'container-image': 'debian:12',
  'container-engine': 'native',
  'container-engine-args': '--verbose "a b"',
  'container-profile': 'mpich,gpu',
  'container-mounts': '/a:/b:ro,/c',
  'container-workdir': '/w',
  'container-env': 'A,B',
  'container-name': 'box:create',
  'container-save': '/tmp/out.sqsh',
  'container-unshare': 'net,ipc',
  'container-shm-size': '1G',
  'container-scope': 'job',
  'container-mpi': 'host',
  'container-device': 'nvidia.com/gpu=0',
}
/** Answered by edf_request.test.ts; Shifter's and GSI's words have variables of the shim's only. */
const ELSEWHERE: readonly OptionName[] = ['environment', 'edf']

function read(options: string[], environment: Record<string, string>): Omit<Request, 'origins' | 'warnings'> {
  const named = { BERTH_CONTAINER_IMAGE: 'debian:12', ...environment }
  const request = parseRequest({ options, environment: new Map(Object.entries(named)), context: 'step' })
  assert.ok(request)
  const { origins: _origins, warnings, ...rest } = request
  assert.deepEqual(warnings, [])
  return rest
}

const names = (Object.keys(OPTIONS) as OptionName[]).filter(
  (name) => optionRow(name).dialect === undefined && !ELSEWHERE.includes(name),
)

for (const name of names) {
  const value = VALUES[name] ?? '1'
  const prefixes = optionRow(name).pyxis ? ['BERTH_', 'PYXIS_', 'SLURM_BERTH_'] : ['BERTH_', 'SLURM_BERTH_']
  for (const variable of prefixes.map((prefix) => prefix + environmentSuffix(name))) {
    test(`${variable} is --${name}`, () => {
      const flag = read([`${name}=${value}`], {})
      if (name !== 'container-image') assert.notDeepEqual(flag, read([], {}), `${value} is ${name}'s default`)
      assert.deepEqual(read([], { [variable]: value }), flag)
    })
  }
}

test('a rendered environment file is SLURM_BERTH_EDF or BERTH_EDF', () => {
  const edf = formatEdf({
    ...{ version: 1, name: 'x', file: '/x.toml', image: 'fedora', mounts: ['/a:/b'] },
    ...{ devices: [], env: { A: '1' }, annotations: {} },
  })
  for (const variable of ['SLURM_BERTH_EDF', 'BERTH_EDF'])
    assert.deepEqual(read([], { [variable]: edf }), read([`edf=${edf}`], {}))
})

test.run()
