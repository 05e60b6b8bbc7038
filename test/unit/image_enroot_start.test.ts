// SPDX-License-Identifier: Apache-2.0
/** /etc/rc of a squashfs: enroot's form is understood as bash writes it, everything else is left alone. */
import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import { readConfig } from '../../src/image/squashfile.js'
import { planStep } from '../../src/plan/plan.js'
import { suite } from '../suite.js'
import { planInput } from './plan_input.js'

const test = suite("enroot's start script")

/** As bash quotes them, in the locale given. */
function quoted(words: readonly string[], locale = 'C.UTF-8'): string {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own
  const script = 'for word; do printf "%s " "${word@Q}"; done'
  return execFileSync('bash', ['--norc', '-c', script, 'bash', ...words], {
    encoding: 'utf8',
    env: { LC_ALL: locale },
  })
}

function scriptOf(entrypoint: string, cmd: string, workdir = '/work'): string {
  return [
    '# enroot-provenance: docker://image',
    '# label exec \'no\' "$@"',
    '',
    `mkdir -p "${workdir}" 2> /dev/null`,
    `cd "${workdir}" && unset OLDPWD || exit 1`,
    '',
    'if [ -s /etc/rc.local ]; then',
    '    . /etc/rc.local',
    'fi',
    '',
    'if [ $# -gt 0 ]; then',
    `    exec ${entrypoint}"$@"`,
    'else',
    `    exec ${entrypoint}${cmd}`,
    'fi',
    '',
  ].join('\n')
}

const read = (script: string) => readConfig(undefined, Buffer.from(script))

test('entrypoint and command come back as they were, whatever is in them', () => {
  const entrypoint = [
    '/entry.sh',
    "it's",
    '',
    'a b',
    '$HOME `x` \\ "q"',
    'new\nline\t\x1b[0m\x7f',
    'é ü 日本',
    "'",
  ]
  const cmd = ['serve', '--it', '%s']
  for (const locale of ['C.UTF-8', 'C']) {
    const script = scriptOf(quoted(entrypoint, locale), quoted(cmd, locale))
    const config = read(script)
    assert.equal([config.workdir, config.entrypoint, config.cmd], ['/work', entrypoint, cmd], locale)
    assert.is(config.script, undefined)
  }
})

test('an image with a command alone has no entrypoint', () => {
  const { entrypoint, cmd } = read(scriptOf('', quoted(['/bin/sh', '-l'])))
  assert.equal([entrypoint, cmd], [[], ['/bin/sh', '-l']])
})

test('anything else is not guessed at, and its directory still counts', () => {
  const odd = [
    scriptOf('/entry.sh ', "'x'"),
    scriptOf("'/entry.sh'$(id) ", "'x'"),
    scriptOf("'/entry.sh ", "'x'"),
    scriptOf("$'\\000' ", "'x'"),
    scriptOf("$'\\u0041' ", "'x'"),
    scriptOf("'/a' ", "'x'").replace(/exec '\/a' 'x'/, "exec '/b' 'x'"),
    scriptOf("'/a' ", "'x'").replace('-gt 0', '-gt 1'),
    'cd "/work"\nexec /my/start "$@"\n',
  ]
  for (const script of odd) {
    const { workdir, entrypoint, cmd, script: left } = read(script)
    assert.equal([workdir, entrypoint, cmd, left], ['/work', [], [], '/etc/rc'], script)
  }
  for (const none of [undefined, Buffer.from('\n')]) assert.is(readConfig(undefined, none).script, undefined)
  assert.is(read('cd "/a\0b"\n').workdir, '')
})

test('a long script takes no long time', () => {
  const piece = `exec ${"'a'".repeat(40_000)} 'b`
  const began = process.cpuUsage()
  assert.is(read(`if [ $# -gt 0 ]; then\n    ${piece} "$@"\nelse\n    ${piece}\nfi\n`).script, '/etc/rc')
  assert.is(read('if [ $# -gt 0 ]; then\n    exec '.repeat(8000)).script, '/etc/rc')
  // Of the processor: others may want it meanwhile.
  assert.ok(process.cpuUsage(began).user < 5_000_000)
})

test('who asks for the entrypoint is told that there is a script which is not run', () => {
  const warnings = (options: string[], script?: string) =>
    planStep(planInput({ options, config: script === undefined ? {} : { script } })).warnings
  assert.match(
    warnings(['container-entrypoint=1'], '/etc/rc').join(),
    /the image's \/etc\/rc is not as enroot/,
  )
  assert.equal(warnings([], '/etc/rc'), [])
  assert.equal(warnings(['container-entrypoint=1']), [])
})

test('volumes are what enroot mounts on itself, and no other line of /etc/fstab', () => {
  const root = '$' + '{ENROOT_ROOTFS}'
  const options = 'none x-create=dir,bind,rw,nosuid,nodev'
  const lines = [
    '# UNCONFIGURED FSTAB FOR BASE SYSTEM',
    `${root}/data /data ${options}`,
    `${root}/var/lib/db /var/lib/db ${options}`,
    `${root}/other /elsewhere ${options}`,
    `/etc/passwd /etc/passwd ${options}`,
    'tmpfs /run tmpfs rw',
  ]
  const { volumes } = readConfig(undefined, undefined, Buffer.from(`${lines.join('\n')}\n`))
  assert.equal(volumes, ['/data', '/var/lib/db'])
  assert.is(readConfig(undefined, undefined, Buffer.from(lines[0] ?? '')).volumes, undefined)
})

test.run()
