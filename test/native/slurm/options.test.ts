// SPDX-License-Identifier: Apache-2.0
/** Which source of a flag wins, whether a container is wanted, and what a variable in one becomes; under the sanitizers. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { CHECKOUT, compile, makeDirectory } from './fake.js'

const test = suite('options')
const directory = makeDirectory()
const build = (name: string, parts: readonly string[], more: readonly string[] = []): string =>
  compile(
    join(directory.path, name),
    [
      join(import.meta.dirname, `${name}_driver.c`),
      ...parts.map((part) => join(CHECKOUT, `slurm/${part}.c`)),
    ],
    ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', ...more],
  )
const driver = build('options', ['options', 'flags', 'frame', 'fail', 'error', 'text'], ['-Wl,--wrap=strdup'])
const settings = build('settings', ['settings', 'error', 'text'])
const expander = build('expand', ['expand', 'options', 'flags', 'frame', 'fail', 'error', 'text'])

function settle(flags: readonly string[], env: Record<string, string> = {}): string[] {
  return execFileSync(driver, flags, { env, encoding: 'utf8' }).trim().split('\n')
}

test('nothing asked for is no container', () => {
  assert.equal(settle([]), ['bare'])
  assert.equal(settle(['container-mounts=/a:/a']), ['container-mounts=/a:/a', 'bare'])
})

test('flag over inherited over Slurm over BERTH_ over PYXIS_', () => {
  const env: Record<string, string> = {
    PYXIS_CONTAINER_IMAGE: 'pyxis',
    BERTH_CONTAINER_IMAGE: 'berth',
    SLURM_SPANK__SLURM_SPANK_OPTION_berth_container_image: 'spank',
    SLURM_BERTH_CONTAINER_IMAGE: 'inherited',
  }
  assert.equal(settle(['container-image=flag'], env), ['container-image=flag', 'container'])
  for (const name of Object.keys(env).reverse()) {
    assert.equal(settle([], env), [`container-image=${env[name]}`, 'container'])
    delete env[name]
  }
})

test("what Slurm carries for pyxis' options counts where it carries none of ours", () => {
  const carried = 'SLURM_SPANK__SLURM_SPANK_OPTION_'
  const env = {
    [`${carried}pyxis_container_image`]: 'pyxis',
    [`${carried}pyxis_no_container_mount_home`]: '(null)',
    BERTH_CONTAINER_IMAGE: 'variable',
  }
  const home = 'no-container-mount-home=1'
  assert.equal(settle([], env), ['container-image=pyxis', home, 'container'])
  const ours = { ...env, [`${carried}berth_container_image`]: 'ours' }
  assert.equal(settle([], ours), ['container-image=ours', home, 'container'])
  assert.equal(settle(['container-image=none'], env), ['container-image=none', home, 'bare'])
})

test('a list given by flags adds up and replaces what was inherited', () => {
  const env = { SLURM_BERTH_CONTAINER_MOUNTS: '/i:/i', PYXIS_CONTAINER_MOUNTS: '/p:/p' }
  assert.equal(
    settle(['container-mounts=/a:/a', 'container-mounts=/b:/b'], env)[0],
    'container-mounts=/a:/a,/b:/b',
  )
  assert.equal(settle([], env)[0], 'container-mounts=/i:/i')
})

test('a yes/no flag is =1 however Slurm hands it over', () => {
  for (const spelled of [
    'container-readonly',
    'container-readonly=',
    'container-readonly=(null)',
    'container-readonly=1',
  ])
    assert.equal(settle([spelled]), ['container-readonly=1', 'bare'])
  assert.equal(settle([], { PYXIS_CONTAINER_READONLY: 'no' }), ['container-readonly=no', 'bare'])
})

test('the stronger of two opposites stays; equally strong ones are both told', () => {
  assert.equal(settle(['container-readonly'], { PYXIS_CONTAINER_WRITABLE: '1' }), [
    'container-readonly=1',
    'bare',
  ])
  assert.equal(settle(['no-container-mount-home'], { SLURM_BERTH_CONTAINER_MOUNT_HOME: '1' }), [
    'no-container-mount-home=1',
    'bare',
  ])
  assert.is(settle(['container-readonly', 'container-writable']).length, 3)
  // pyxis looks at its writable variable first.
  const both = { PYXIS_CONTAINER_WRITABLE: '1', PYXIS_CONTAINER_READONLY: '1' }
  assert.equal(settle([], both), ['container-writable=1', 'bare'])
})

test('none undoes, empty undoes only when inherited', () => {
  const env = { SLURM_BERTH_CONTAINER_IMAGE: 'a' }
  assert.is(settle(['container-image=none'], env).at(-1), 'bare')
  assert.is(settle([], { ...env, SLURM_BERTH_CONTAINER_IMAGE: '' }).at(-1), 'bare')
  assert.is(settle(['container-image=']).at(-1), 'container')
  assert.is(settle(['container-name=n']).at(-1), 'container')
  assert.is(settle(['container-image=none', 'container-name=n']).at(-1), 'bare')
})

test('an option that no memory was left for is a container that cannot be had, and no step on the host', () => {
  for (const env of [{}, { PYXIS_CONTAINER_IMAGE: 'a' }]) {
    const told = spawnSync(driver, ['--no-memory', 'container-image=a'], { env, encoding: 'utf8' })
    assert.is(told.stdout, 'container\n')
    assert.is(told.status, 1, 'nor is a frame sent without it')
  }
})

test('values with commas, equals signs, newlines and 64 KiB travel as they are', () => {
  const odd = `a,b=c\t${'x'.repeat(65_536)}`
  assert.is(settle([`container-env=${odd}`])[0], `container-env=${odd}`)
})

test('what cannot be meant on the line of plugstack.conf is told with the word that says it', () => {
  const read = (...words: string[]): string => spawnSync(settings, words, { encoding: 'utf8' }).stdout
  assert.is(read(), '/run/berth - - 1 0\n', 'which store it is, berth.conf may say')
  assert.is(read('runtime_dir=/x', 'store=/s', 'node=', 'sbatch_support=n', 'threads=2'), '/x /s - 0 1\n')
  for (const [word, problem] of [
    ['store', 'store has no value: write store=VALUE'],
    ['store=', 'store= is no absolute path'],
    ['config=berth.conf', 'config=berth.conf is no absolute path'],
    ['node=node', 'node=node is no absolute path'],
    ['sbatch=maybe', 'sbatch=maybe: write yes or no'],
    ['gsi_flags=', 'gsi_flags=: write yes or no'],
    ['shifter_flags=on', 'shifter_flags=on: write short, long or no'],
  ] as const)
    assert.match(read('runtime_dir=/x', word), `berth: error[BERTH_EPLUGSTACK]: ${problem}\nhint: `)
})

test('a variable in a mount becomes what the submitting shell has, and nothing else changes', () => {
  const env = { SCRATCH: '/s', ODD: '/a,b:$c', EMPTY: '' }
  const expand = (text: string): string =>
    execFileSync(expander, [text], { env, encoding: 'utf8' }).slice(0, -1)
  assert.is(expand(`\${SCRATCH}/x:/x`), '/s/x:/x')
  assert.is(expand(`/a:\${SCRATCH}`), '/a:/s')
  assert.is(expand(`\${SCRATCH:-/other}:/x`), '/s:/x')
  assert.is(expand(`\${ODD}:/x`), '/a\\,b\\:\\$c:/x', 'a value is no grammar')
  for (const kept of [
    `\${UNSET}:/x`,
    `\${EMPTY:-/d}:/x`,
    `\\\${SCRATCH}:/x`,
    `\${SCRATCH`,
    `\${}`,
    `\${SCRATCH:+x}`,
    `\${UNSET}$`,
    `\${UNSET}\\`,
    `\${`,
    `\${${'N'.repeat(256)}}`,
  ])
    assert.is(expand(kept), kept)
})

test('flags.json is the table that srun registers', () => {
  const table: { name: string; kind: string; variable: string }[] = JSON.parse(
    readFileSync(join(CHECKOUT, 'dist/flags.json'), 'utf8'),
  )
  assert.ok(table.length > 20)
  for (const { name, kind } of table) {
    assert.match(name, /^[a-z][a-z.-]+$/)
    assert.match(kind, /^(single|list|bool)$/)
  }
  assert.is(table.find(({ name }) => name === 'container-image')?.variable, 'BERTH_CONTAINER_IMAGE')
})

test.after(() => directory.remove())
test.run()
