// SPDX-License-Identifier: Apache-2.0
import { equal } from 'node:assert/strict'
import { TestNode } from './node.js'

/** A node for one test, of which nothing may be left. */
export async function withNode(settings: Record<string, string>, body: (node: TestNode) => Promise<void>) {
  const node = new TestNode(settings)
  try {
    await body(node)
  } finally {
    equal((await node.stop()).join('\n'), '')
  }
}
