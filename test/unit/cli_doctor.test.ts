// SPDX-License-Identifier: Apache-2.0
import { equal, match } from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkLines } from '../../src/cli/doctor_slurm.js'
import { DIST } from '../../src/cli/places.js'
import { keeperArguments, readPlugstack } from '../../src/cli/plugin_line.js'
import { suite } from '../suite.js'

const test = suite('berth doctor reads plugstack.conf')
const dir = mkdtempSync(join(tmpdir(), 'berth-doctor-'))
const places = { runtimeDir: '/run/berth', store: '/var/lib/berth', config: '/etc/berth/berth.conf' }
const plugstack = join(dir, 'plugstack.conf')

test.after(() => rmSync(dir, { recursive: true }))

async function findings(text: string) {
  writeFileSync(plugstack, text)
  return checkLines(await readPlugstack(plugstack), plugstack, places)
}

test('a required line is good', async () => {
  const [plugin, ...others] = await findings('# ours\nrequired /opt/berth/dist/berth.so\n')
  equal(plugin?.state, 'ok')
  match(plugin?.found ?? '', /plugstack\.conf:2 loads \/opt\/berth\/dist\/berth\.so/)
  equal(others.length, 0)
})

test('the line is found through include with a wildcard', async () => {
  mkdirSync(join(dir, 'conf.d'), { recursive: true })
  writeFileSync(join(dir, 'conf.d/50-berth.conf'), 'required /opt/berth.so runtime_dir=/run/other\n')
  const [plugin, place] = await findings('include conf.d/*.conf\n')
  equal(plugin?.state, 'ok')
  equal(place?.fix, 'berth doctor --runtime-dir=/run/other')
})

test('an optional line fails: it would let steps run on the host', async () => {
  const [plugin] = await findings('optional /opt/berth.so\n')
  equal(plugin?.state, 'fail')
  match(plugin?.found ?? '', /would run on the host/)
})

test('no line fails and the line to add is named', async () => {
  const [plugin] = await findings('required spank_other.so\n')
  equal(plugin?.state, 'fail')
  match(plugin?.fix ?? '', new RegExp(`required ${join(DIST, 'berth.so')}`))
})

test('pyxis beside it is named', async () => {
  const found = await findings('required /opt/berth.so\nrequired /usr/lib/slurm/spank_pyxis.so\n')
  equal(found.find(({ check }) => check === 'other plugins')?.state, 'fail')
})

test('an include that includes itself ends', async () => {
  writeFileSync(plugstack, `include ${plugstack}\nrequired /opt/berth.so\n`)
  equal((await readPlugstack(plugstack)).length > 0, true)
})

test('a worker that root wakes by a command obeys the line as one that a step wakes', async () => {
  const conf = join(dir, 'slurm.conf')
  const before = process.env.SLURM_CONF
  process.env.SLURM_CONF = conf
  const ask = async (line: string, own = places) => {
    writeFileSync(plugstack, line)
    return (await keeperArguments(own)).join(' ')
  }
  try {
    writeFileSync(conf, `PlugStackConfig=${plugstack}\n`)
    equal(
      await ask('required /opt/berth.so registries_allow=reg.site store=/data/berth env_set=A=b\n'),
      '--registries_allow=reg.site --store=/data/berth --env_set=A=b --runtime-dir=/run/berth --config=/etc/berth/berth.conf',
    )
    const defaults = '--runtime-dir=/run/berth --store=/var/lib/berth --config=/etc/berth/berth.conf'
    equal(await ask('required /opt/other.so x=y\n'), defaults)
    // Another instance than that of the line.
    equal(await ask('required /opt/berth.so runtime_dir=/run/other store=/data/other\n'), defaults)
    const own = { ...places, store: '/mine' }
    equal(
      await ask('required /opt/berth.so store=/data/berth\n', own),
      '--store=/mine --runtime-dir=/run/berth --config=/etc/berth/berth.conf',
    )
    rmSync(conf)
    equal((await keeperArguments(places)).join(' '), defaults)
  } finally {
    if (before === undefined) delete process.env.SLURM_CONF
    else process.env.SLURM_CONF = before
  }
})

test.run()
