// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { planPmi } from '../../src/plan/pmi.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'

const test = suite("Slurm's process managers in a plan")
const strange = /wants the user's own number/

function told(given: Given): { warned: boolean; noted: boolean } {
  const environment = { PMIX_SECURITY_MODE: 'munge,native', ...given.environment }
  const { warnings = [], notes = [] } = planPmi(planInput({ ...given, environment }))
  return { warned: warnings.some((one) => strange.test(one)), noted: notes.some((one) => strange.test(one)) }
}

test('root under PMIx: a warning to who gave the flag, else a note', () => {
  assert.deepEqual(told({ options: ['container-remap-root=1'] }), { warned: true, noted: true })
  for (const name of ['BERTH_CONTAINER_REMAP_ROOT', 'PYXIS_CONTAINER_REMAP_ROOT'])
    assert.deepEqual(told({ environment: { [name]: '1' } }), { warned: false, noted: true })
  assert.deepEqual(told({ site: 'container_remap_root = yes' }), { warned: false, noted: true })
  assert.deepEqual(told({}), { warned: false, noted: false })
  const other = { options: ['container-remap-root=1'], environment: { PMIX_SECURITY_MODE: 'munge' } }
  assert.deepEqual(told(other), { warned: false, noted: false })
})

test.run()
