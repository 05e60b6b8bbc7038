// SPDX-License-Identifier: Apache-2.0
import { equal, match } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { showAge, showBytes } from '../../src/cli/columns.js'
import { COMMANDS } from '../../src/cli/main.js'
import { placesFrom } from '../../src/cli/places.js'
import { nearest } from '../../src/report/nearest.js'
import { wordsFor } from '../compile.js'
import { suite } from '../suite.js'

const test = suite('the berth command')
const ENTRY = join(import.meta.dirname, '../../src/bin/berth.ts')

function berth(args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [...wordsFor(ENTRY), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, BERTH_RUNTIME_DIR: '/nonexistent/berth', ...env },
  })
}

test('every command has a summary, an example and a help text that names its options', async () => {
  for (const [name, load] of Object.entries(COMMANDS)) {
    const command = await load()
    equal(command.summary === '', false, name)
    equal(command.examples.length > 0, true, name)
  }
  const { stdout, status } = berth(['check', '--help'])
  equal(status, 0)
  match(stdout, /usage: berth check/)
  match(stdout, /--context=/)
})

test('without a command it teaches and fails', () => {
  const { stdout, status } = berth([])
  equal(status, 1)
  match(stdout, /berth COMMAND/)
})

test('an unknown command is named on stderr', () => {
  const { stderr, stdout, status } = berth(['pul'])
  equal(status, 1)
  equal(stdout, '')
  match(stderr, /unknown command pul\nhint: did you mean `berth pull`\? see `berth --help`/)
})

test('what stands in the wrong place is named, and what was meant', () => {
  match(berth(['--json', 'ps']).stderr, /--json stands before the command\nhint: write berth COMMAND/)
  match(
    berth(['ps', '--josn']).stderr,
    /unknown option --josn \(did you mean --json\?\)\nhint: see `berth ps/,
  )
  match(berth(['ps', 'more']).stderr, /^berth: unexpected word more\nhint: see/)
})

test('a word is near when few letters differ', () => {
  const known = ['mounts', 'mpi', 'pull', 'ps']
  for (const [word, meant] of Object.entries({
    mount: 'mounts',
    muonts: 'mounts',
    pul: 'pull',
    xy: undefined,
    frob: undefined,
  }))
    equal(nearest(word, known), meant, word)
})

test('--version is the number of package.json', () => {
  match(berth(['--version']).stdout, /^berth \d+\.\d+\.\d+\n$/)
})

test('check names options that do nothing without an image', () => {
  const { stdout, stderr, status } = berth(['check', '--mounts=/data:/data:ro'])
  match(stderr, /^berth: ignoring --container-mounts because neither --container-image nor --container-name/)
  match(stdout, /^ok: no container/)
  equal(status, 0)
})

test('check accepts what the grammar accepts', () => {
  const { stdout, status } = berth(['check', '--context=sbatch', 'python:3.12', '--mounts=/data:/data:ro'])
  equal(status, 0)
  equal(stdout, '')
})

test('check refuses with the code and exit 1, as the plugin expects', () => {
  const { stderr, status } = berth(['check', '--context=sbatch', '--container-image=a b c'])
  equal(status, 1)
  match(stderr, /^berth: error\[BERTH_E/)
})

test('check --config names hooks that cannot be used, with file, line and key', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-check-'))
  try {
    writeFileSync(join(directory, 'x.json'), '{"version": "0.1.0"}')
    const conf = join(directory, 'berth.conf')
    writeFileSync(conf, `hooks_allow = /ok/,rel,/x=sha256:1\n[profile p]\nhooks = ${directory}\n`)
    const { stderr, status } = berth(['check', `--config=${conf}`])
    equal(status, 3)
    match(stderr, /berth\.conf:1: hooks_allow: "rel" should be \/PATH/)
    match(stderr, /"\/x=sha256:1" should be/)
    match(stderr, /berth\.conf:3: hooks: .*x\.json: version: should be 1\.0\.0/)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('check --config names engines that are none and mounts that are none, with file, line and key', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-check-'))
  try {
    const conf = join(directory, 'berth.conf')
    const lines = [
      'engine = crnu',
      'engines = crun, podmam,docker, auto',
      'engine_partitions = gpu=auto,long=slurm,short=runc',
      'mounts = /a:/b:ro,/c:/d:r0',
      'mounts[] = /opt/$' + '{USER}:/opt/own',
      'mounts[] = tmpfs',
      'mounts[] = /x:../y',
      'mounts[] = /opt/$' + '{HOME}:/h',
    ]
    writeFileSync(conf, lines.join('\n'))
    mkdirSync(join(directory, 'conf.d'))
    writeFileSync(join(directory, 'conf.d/site.conf'), '\nengine = crun\n')
    const { stdout, stderr, status } = berth(['check', `--config=${conf}`])
    equal(status, 3)
    equal(stdout, '')
    const said = stderr.split('\n').filter((line) => line.startsWith('berth: '))
    const expected = [
      /berth\.conf:1: engine: "crnu" is no engine of this berth: native, crun, .*, or auto$/,
      /berth\.conf:2: engines: "podmam" is no engine of this berth: native, crun, [^"]*docker$/,
      /berth\.conf:2: engines: "auto" is no engine/,
      /berth\.conf:3: engine_partitions: "slurm" is no engine of this berth: .*, or auto$/,
      /berth\.conf:3: engine_partitions: "runc" is not among the engines of .*berth\.conf:2$/,
      /berth\.conf:4: mounts: .*r0/,
      /berth\.conf:6: mounts: .*tmpfs/,
      /berth\.conf:7: mounts: .*target \.\.\/y leaves the container/,
      /berth\.conf:8: mounts: .*HOME/,
    ]
    expected.forEach((pattern, index) => {
      match(said[index] ?? '', pattern)
      match(said[index] ?? '', /^berth: error\[BERTH_ESITE\]: /)
    })
    equal(said.length, expected.length, stderr)
    const json = JSON.parse(berth(['check', '--json', `--config=${conf}`]).stdout)
    equal(json.errors.length, expected.length)
    writeFileSync(
      conf,
      'engine = auto\nmounts = /opt/$' + '{USER}-$' + '{UID}-$' + '{JOB}:/own,tmpfs:/scratch:size=1G\n',
    )
    equal(berth(['check', `--config=${conf}`]).status, 0)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('check --config names a wrong bind of a file in conf.d, with that file, line and key', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-check-'))
  try {
    mkdirSync(join(directory, 'conf.d'))
    const conf = join(directory, 'berth.conf')
    writeFileSync(conf, '[profile p]\nbind = /ok\n')
    writeFileSync(join(directory, 'conf.d/x.conf'), '# more\n[profile q]\nbind = /a:b:c:d, relative\n')
    const { stdout, stderr, status } = berth(['check', `--config=${conf}`])
    equal(`${status} ${stdout}`, '3 ')
    const place = `berth: profile: ${directory}/conf.d/x.conf:3: bind`
    const rule = 'should be /SRC[:/DST[:FLAGS]]'
    equal(stderr, `${place}: "/a:b:c:d" ${rule}\n${place}: "relative" ${rule}\n`)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test("check reads what stands on berth's line in plugstack.conf, which a step would be refused for", () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-check-'))
  try {
    const plugstack = join(directory, 'plugstack.conf')
    const line = 'required /opt/berth.so runtime_dir=/nonexistent/berth'
    const file = join(directory, 'slurm.conf')
    writeFileSync(file, `PlugStackConfig=${plugstack}\n`)
    const check = (words: string) => {
      writeFileSync(plugstack, `${line} config=${join(directory, 'berth.conf')} ${words}\n`)
      return berth(['check'], { SLURM_CONF: file })
    }
    writeFileSync(join(directory, 'berth.conf'), 'registries_alow = a\n')
    const { stderr, status } = check('store_quota=lots sbatch')
    equal(status, 3)
    const words = `${plugstack}:1: sbatch has no value: write sbatch=VALUE`
    match(stderr, new RegExp(`BERTH_EPLUGSTACK\\]: .*${words}\nhint: `))
    match(stderr, /BERTH_ESITE\]: plugstack argument: store_quota: "lots" should be bytes/)
    match(stderr, /warning: .*berth\.conf:1: unknown key registries_alow: did you mean registries_allow\?/)
    equal(check('').status, 3)
    writeFileSync(join(directory, 'berth.conf'), '')
    const pyxis = check('use_squashfuse=1 execute_entrypoint=1')
    equal(pyxis.status, 0)
    match(pyxis.stderr, /^berth: note: plugstack argument: use_squashfuse has no meaning here/)
    // A policy of the line holds at submit too, where no worker answers.
    writeFileSync(plugstack, `${line} registries_deny=docker.io\n`)
    const denied = berth(['check', '--context=sbatch', '--container-image=python:3.12'], { SLURM_CONF: file })
    equal(denied.status, 1)
    match(denied.stderr, /BERTH_EPOLICY/)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('check --config names a line that cannot be used, exit 3', () => {
  const { stderr, status } = berth(['check', `--config=${join(import.meta.dirname, 'cli_bad.conf')}`])
  equal(status, 3)
  match(stderr, /idle_exit/)
})

test('explain tells what a code means, whatever its case', () => {
  const { stdout, status } = berth(['explain', 'berth-eoption'])
  equal(status, 0)
  match(stdout, /^BERTH_EOPTION: /)
})

test('without a worker a user is told how to start one', () => {
  const { stderr, status } = spawnSync(
    'setpriv',
    ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, ...wordsFor(ENTRY), 'images'],
    { encoding: 'utf8', env: { PATH: process.env.PATH, BERTH_RUNTIME_DIR: '/nonexistent/berth' } },
  )
  // Where this is not root, setpriv refuses; the CLI's own words are then tested as the user that runs this.
  if (/setpriv/.test(stderr)) return
  equal(status, 1)
  match(stderr, /BERTH_ENOWORKER.*: there is no such socket\nhint: .*`systemctl start berth-worker\.socket`/)
})

test('flags beat the environment, which beats the defaults', () => {
  equal(placesFrom({}, {}).runtimeDir, '/run/berth')
  equal(placesFrom({}, { BERTH_RUNTIME_DIR: '/a' }).runtimeDir, '/a')
  equal(placesFrom({ 'runtime-dir': '/b' }, { BERTH_RUNTIME_DIR: '/a' }).runtimeDir, '/b')
})

test('sizes and ages are short', () => {
  equal(showBytes(512), '512 B')
  equal(showBytes(1536), '1.5 KiB')
  equal(showBytes(200 * 2 ** 30), '200 GiB')
  equal(showAge(59), '59s')
  equal(showAge(7200), '2h')
})

test.run()
