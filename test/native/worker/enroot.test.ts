// SPDX-License-Identifier: Apache-2.0
/** `enroot create` and `enroot import` of scripts: which files the one takes, and how that of the other comes to be. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { collect, DIST, missingForNode, type Said, TestNode, until } from './node.js'

const test = suite('enroot: files')
const missing = missingForNode()
let node: TestNode
let registry: MoodyRegistry
let folders = 0

test.before(async () => {
  if (missing !== undefined) return
  registry = await MoodyRegistry.start()
  node = new TestNode()
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  registry.stop()
  equal((await node.stop()).join('\n'), '')
})

/** The registry answers from this process, so nothing may block it. */
function enroot(cwd: string, ...words: string[]): Promise<Said> {
  return collect(spawn(join(DIST, 'compat/enroot'), words, { cwd, env: node.environment() }))
}

function freshFolder(): string {
  const folder = join(node.dir, `folder${folders++}`)
  mkdirSync(folder)
  return folder
}

test.needs(
  missing,
  'create takes a squashfs whatever its name ends in, which all but .sqsh stay',
  async () => {
    const folder = freshFolder()
    const names = ['a.sqsh', 'b.sqfs', 'c.squashfs', 'd.img', 'e.SQSH', 'f', '.g.sqsh', 'h.tar']
    for (const name of names) {
      copyFileSync(node.image, join(folder, name))
      deepEqual(await enroot(folder, 'create', name), { status: 0, stdout: '', stderr: '' }, name)
    }
    const { stdout } = await enroot(folder, 'list')
    deepEqual(stdout.trim().split('\n').sort(), names.map((name) => name.replace(/\.sqsh$/, '')).sort())
    for (const [name, path] of [
      ['full', join(folder, 'a.sqsh')],
      ['below', '../folder0/a.sqsh'],
    ] as const)
      equal((await enroot(folder, 'create', '-n', name, path)).stderr, '')
    deepEqual(await enroot(folder, 'start', 'full', 'echo', 'ran'), {
      status: 0,
      stdout: 'ran\n',
      stderr: '',
    })
  },
)

test.needs(missing, 'create refuses what is no squashfs, by the name that was given', async () => {
  const folder = freshFolder()
  writeFileSync(join(folder, 'text.sqsh'), 'no image\n'.repeat(1000))
  mkdirSync(join(folder, 'directory.sqsh'))
  for (const name of ['text.sqsh', 'directory.sqsh', 'absent.sqsh']) {
    const { status, stderr } = await enroot(folder, 'create', name)
    equal(status, 1, name)
    match(stderr, new RegExp(`^berth: error\\[BERTH_E(SQUASHFS|IMAGEFILE)\\]: .*${name}`), name)
  }
  equal(/text|directory|absent/.test((await enroot(folder, 'list')).stdout), false)
})

test.needs(
  missing,
  'an imported file has its name when it is whole, and nothing else stays beside it',
  async () => {
    const folder = freshFolder()
    const seen: [string, string][] = []
    const watcher = watch(folder, (kind, name) => void seen.push([kind, String(name)]))
    const said = await enroot(folder, 'import', '-o', 'x.sqsh', `docker://${registry.image()}`)
    deepEqual({ ...said, stderr: '' }, { status: 0, stdout: '', stderr: '' })
    await until('news of the file', () => seen.some(([, name]) => name === 'x.sqsh'))
    watcher.close()
    const [[, partial = ''] = []] = seen
    match(partial, /^\.x\.sqsh\.[\da-f]{16}$/)
    const named = seen.findIndex(([, name]) => name === 'x.sqsh')
    deepEqual(seen[named], ['rename', 'x.sqsh'])
    equal(
      seen.slice(named).some(([kind]) => kind === 'change'),
      false,
      JSON.stringify(seen),
    )
    deepEqual(readdirSync(folder), ['x.sqsh'])
    equal(statSync(join(folder, 'x.sqsh')).mode & 0o7777, 0o666 & ~process.umask())
    equal(readFileSync(join(folder, 'x.sqsh')).toString('latin1', 0, 4), 'hsqs')
  },
)

test.needs(missing, 'import leaves a file that is there as it is, and asks nobody', async () => {
  const folder = freshFolder()
  const file = join(folder, 'x.sqsh')
  writeFileSync(file, 'mine')
  const { questions } = registry
  const said = await enroot(folder, 'import', '--output', 'x.sqsh', `docker://${registry.image('asked')}`)
  deepEqual(said, { status: 1, stdout: '', stderr: `enroot: File already exists: ${file}\n` })
  equal(registry.questions, questions)
  equal(readFileSync(file, 'utf8'), 'mine')
  deepEqual(readdirSync(folder), ['x.sqsh'])
})

test.needs(missing, 'two imports of one file at once: the file is whole, whoever was first', async () => {
  const folder = freshFolder()
  const both = await Promise.all(
    [1, 2].map(() => enroot(folder, 'import', '-o', 'x.sqsh', `docker://${registry.image()}`)),
  )
  // One that starts when the other has ended is told so.
  for (const { status, stderr } of both)
    if (status !== 0) match(stderr, /^enroot: File already exists: .*x\.sqsh$/m)
  equal(
    both.some(({ status }) => status === 0),
    true,
  )
  deepEqual(readdirSync(folder), ['x.sqsh'])
  equal((await enroot(folder, 'create', '-n', 'both', 'x.sqsh')).stderr, '')
})

test.needs(missing, 'an import that fails leaves nothing', async () => {
  const folder = freshFolder()
  registry.turn('refuse')
  try {
    const { status, stderr } = await enroot(folder, 'import', `docker://${registry.image('none')}`)
    equal(status, 1)
    match(stderr, /BERTH_EIMAGENOTFOUND/)
    deepEqual(readdirSync(folder), [])
  } finally {
    registry.turn('answer')
  }
})

test.run()
