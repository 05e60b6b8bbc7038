// SPDX-License-Identifier: Apache-2.0
/**
 * Request, image and site in, explained plan out: cases/NAME.json → NAME.json. A change of a plan shows as a diff of
 * these files; UPDATE_GOLDEN=1 writes them anew (then `npx biome format --write test/golden`).
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { explainPlan } from '../../src/plan/explain.js'
import { type PlanInput, planStep } from '../../src/plan/plan.js'
import { suite } from '../suite.js'
import { type Given, planInput } from '../unit/plan_input.js'
import { IMAGE_FACTS, NODE_FACTS } from './host.js'

const test = suite('explained plans')
const cases = join(import.meta.dirname, 'cases')

for (const file of readdirSync(cases).sort()) {
  test(`${file} is planned as recorded`, () => {
    const { node, ...given }: Given & { node?: true } = JSON.parse(readFileSync(join(cases, file), 'utf8'))
    const expected = join(import.meta.dirname, file)
    const actual = explainPlan(planStep(node === true ? onNode(given) : planInput(given)))
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(expected, actual)
    assert.equal(compact(actual), compact(readFileSync(expected, 'utf8')))
  })
}

/** On the node and with the image of host.ts. */
function onNode(given: Given): PlanInput {
  return { ...planInput({ ...given, facts: IMAGE_FACTS }), host: NODE_FACTS }
}

/** Keeps the order of fields, which is part of the promise, and drops the layout, which is the formatter's. */
function compact(text: string): string {
  return JSON.stringify(JSON.parse(text))
}

test('the output is the same each time', () => {
  assert.equal(explainPlan(planStep(planInput())), explainPlan(planStep(planInput())))
})

test('every part says why and by whom', () => {
  const { berth } = JSON.parse(
    explainPlan(planStep(planInput({ options: ['container-mounts=/a,tmpfs:/b'] }))),
  )
  for (const part of [berth.root, berth.cwd, ...berth.env, ...berth.mounts, ...berth.namespaces]) {
    assert.ok(part.reason !== '' && part.origin !== '', JSON.stringify(part))
  }
})

test.run()
