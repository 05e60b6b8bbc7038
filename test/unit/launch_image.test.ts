// SPDX-License-Identifier: Apache-2.0
/** What the image says of itself in a command line: its own command, and the entrypoint before it. */
import * as assert from 'uvu/assert'
import type { LaunchFields } from '../../src/engine/engine.js'
import { launchAsIs, launchWithImage } from '../../src/launch/bare.js'
import { suite } from '../suite.js'

const test = suite('launch: the image’s command')
const entrypoint = { argv: ['/entry', 'first'], log: true, sees: [], keeps: [] }
const asked: LaunchFields = { ...launchAsIs, bare: false, entrypoint }
const config = {
  ...{ env: [], entrypoint: entrypoint.argv, cmd: ['own', 'command'], workdir: '', user: '' },
  ...{ labels: {}, architecture: 'amd64' },
}

test('without a command the image’s own runs, without one of those a shell', () => {
  const { entrypoint: _, ...plain } = asked
  const own = { imageCommand: true } as const
  assert.equal(launchWithImage(plain, own, config).argv, ['/entry', 'first', 'own', 'command'])
  assert.equal(launchWithImage(plain, own, undefined).argv, ['/bin/sh'])
  assert.equal(launchWithImage(plain, {}, config).argv, [])
})

test('enroot start: the entrypoint takes the command, or the image’s own, and nothing comes between them', () => {
  const first = { entrypointFirst: true } as const
  const given = launchWithImage(asked, first, config)
  assert.equal([given.argv, given.entrypoint], [['/entry', 'first'], undefined])
  const alone = launchWithImage(asked, { ...first, imageCommand: true }, config)
  assert.equal([alone.argv, alone.entrypoint], [['/entry', 'first', 'own', 'command'], undefined])
  assert.equal(launchWithImage(asked, { ...first, imageCommand: true }, { ...config, cmd: [] }).argv, [
    '/entry',
    'first',
  ])
})

test.run()
