// SPDX-License-Identifier: Apache-2.0
/** The machine's own network in a plan: what is told of its devices, and what comes in beside them. */
import * as assert from 'uvu/assert'
import type { AcceleratorFacts } from '../../src/plan/accelerators.js'
import { FABRIC_DEVICES } from '../../src/plan/fabric.js'
import { planStep } from '../../src/plan/plan.js'
import type { Plan } from '../../src/plan/spec.js'
import { suite } from '../suite.js'
import { hostWith } from './cdi_samples.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('the fabric in a plan')

function plan(accelerators: AcceleratorFacts, given: Given = {}): Plan {
  return planStep({ ...planInput(given), host: { machine: 'x86_64', accelerators } })
}

test('each kind of the fabric’s devices is told, given or not', () => {
  for (const [pattern, what] of Object.entries(FABRIC_DEVICES)) {
    const [one, other] = ['0', '1'].map((end) => pattern.replace(/\*$|\[0-9\]\*$/, end))
    assert.ok(one !== undefined && other !== undefined)
    const nodes = one === other ? [one] : [one, other]
    const notes = (denied: string) =>
      plan({
        ...hostWith({}),
        globs: new Map([[pattern, nodes]]),
        nodes: new Map([[denied, { type: 'c', major: 1, minor: 1, allowed: false }]]),
      }).notes.filter((note) => note.startsWith('fabric: '))
    assert.equal(notes(''), [`fabric: ${what}: ${nodes.length} devices of ${pattern}`])
    assert.is(notes(one).at(-1), `fabric: ${what}: not given to this step: ${one}`)
    assert.is(notes(one).length, nodes.length)
  }
})

test('the fabric: huge pages come in, devices are told, and a site can turn it off', () => {
  const facts: AcceleratorFacts = {
    ...hostWith({}),
    paths: new Set(['/var/lib/hugetlbfs']),
    globs: new Map([['/dev/cxi[0-9]*', ['/dev/cxi0', '/dev/cxi1']]]),
    nodes: new Map([['/dev/cxi1', { type: 'c', major: 1, minor: 1, allowed: false }]]),
  }
  const made = plan(facts, { config: { env: ['SLINGSHOT_VNIS=1'] } })
  assert.ok(made.mounts.some(({ target }) => target === '/var/lib/hugetlbfs'))
  assert.ok(made.notes.some((note) => /Slingshot \(CXI\): 1 devices/.test(note)))
  assert.ok(made.notes.some((note) => /not given to this step: \/dev\/cxi1/.test(note)))
  assert.is(
    made.process.env.find(({ name }) => name === 'SLINGSHOT_VNIS'),
    undefined,
  )
  const off = plan(facts, { site: 'container_fabric = off\n' })
  assert.not.ok(off.mounts.some(({ target }) => target === '/var/lib/hugetlbfs'))
})

test.run()
