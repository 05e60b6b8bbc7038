// SPDX-License-Identifier: Apache-2.0
/** What a command says where nobody whom it may trust answers. */
import { equal, match, ok } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { missingForNode, OTHER_UID, TestNode, UID } from './node.js'
import { until } from './until.js'

const test = suite('no worker to be trusted')
const missing = missingForNode()

async function withNode(body: (node: TestNode) => Promise<void>) {
  const node = new TestNode({})
  try {
    await body(node)
  } finally {
    equal((await node.stop()).join('\n'), '')
  }
}

test.needs(missing, 'a command of root tells why no worker can be started', () =>
  withNode(async (node) => {
    chmodSync(node.runtime, 0o777)
    const { status, stderr } = node.cli('images')
    equal(status, 1)
    match(
      stderr,
      /^berth: error\[BERTH_ENOWORKER\]: .*worker\.sock: others than root can change .*; chmod go-w /,
    )
  }),
)

test.needs(missing, 'a command says nothing to a socket that another user made, nor starts a worker', () =>
  withNode(async (node) => {
    chownSync(node.runtime, UID, UID)
    const listen = `require('node:net').createServer((socket) => {
      socket.on('data', () => process.stdout.write('heard\\n'))
    }).listen({ path: process.argv[1], writableAll: true }, () => process.stdout.write('listens\\n'))`
    const listener = spawn(process.execPath, ['-e', listen, node.socket], { uid: UID, gid: UID })
    let heard = ''
    listener.stdout.setEncoding('utf8').on('data', (text: string) => {
      heard += text
    })
    try {
      await until('the socket', () => heard !== '')
      for (const uid of [0, OTHER_UID]) {
        const { status, stderr } = node.cliAs(uid, 'images')
        equal(status, 1)
        match(
          stderr,
          new RegExp(`^berth: error\\[BERTH_ESTRANGER\\]: whoever listens at .* is user ${UID}, `),
        )
        match(stderr, /\nhint: tell the operators of this node: runtime_dir/)
      }
      equal(heard, 'listens\n')
    } finally {
      listener.kill()
    }
    ok(!existsSync(join(node.runtime, 'keeper.pid')))
  }),
)

test.run()
