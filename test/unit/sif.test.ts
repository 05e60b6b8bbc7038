// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: those of shell scripts
/** Which part of a SIF runs, what its scripts say, and that no header leads astray. */
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readSif, type SifPartition } from '../../src/image/sif.js'
import { readAssignments, sifConfig } from '../../src/image/sif_config.js'
import { BerthError } from '../../src/report/errors.js'
import * as sif from '../cluster/sif.js'
import { suite } from '../suite.js'

const test = suite('sif')
const folder = mkdtempSync(join(tmpdir(), 'berth-sif-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const HOST = { architecture: 'amd64', variants: [''] }
const CONTENT = Buffer.alloc(5000, 'x')

function find(bytes: Buffer): SifPartition | undefined {
  const path = join(folder, 'x.sif')
  writeFileSync(path, bytes)
  const fd = openSync(path, 'r')
  try {
    return readSif(fd, 'x.sif', HOST)?.partition
  } finally {
    closeSync(fd)
  }
}

function refusal(bytes: Buffer): BerthError {
  try {
    find(bytes)
  } catch (error) {
    if (error instanceof BerthError) return error
    throw error
  }
  throw new Error('was not refused')
}

test('its primary system is found wherever it lies; other files are none', () => {
  const label = { type: 0x4003, content: Buffer.from('{}') }
  assert.deepEqual(find(sif.makeSif([label, { content: CONTENT }])), {
    ...{ offset: 28672 + 4096, size: 5000, architecture: 'amd64' },
  })
  assert.equal(find(Buffer.from('hsqs')), undefined)
  assert.equal(find(Buffer.alloc(0)), undefined)
})

test('what only its own engine can run is refused, naming that engine', () => {
  const cases: [sif.SifPart[], string, string][] = [
    [[{ system: sif.ENCRYPTED, content: CONTENT }], 'is encrypted', 'apptainer, or singularity'],
    [[{ system: 6, content: CONTENT }], 'is encrypted', 'apptainer'],
    [[{ system: sif.EXT3, content: CONTENT }], 'holds an ext3 file system', 'apptainer, or singularity'],
    [[{ type: sif.OCI_INDEX, content: CONTENT }], 'is an OCI-SIF', 'singularity --oci'],
    [
      [{ content: CONTENT }, { kind: sif.OVERLAY, system: sif.EXT3, content: CONTENT }],
      'holds an overlay over its file system',
      'apptainer, or singularity',
    ],
  ]
  for (const [parts, problem, engine] of cases) {
    const { code, message, hint } = refusal(sif.makeSif(parts))
    assert.equal(code, 'BERTH_ESIFENGINE')
    assert.ok(message.includes(`image file x.sif (SIF) ${problem}`), message)
    assert.ok(hint.includes(`without --container-image ${engine}`), hint)
  }
})

test('damaged ones and those of another processor are refused', () => {
  const good = sif.makeSif([{ content: CONTENT }])
  assert.match(refusal(good.subarray(0, 60)).message, /ends within its header/)
  assert.match(refusal(good.subarray(0, 200)).message, /damaged table of contents/)
  assert.match(refusal(good.subarray(0, 29000)).message, /ends before its file system does/)
  assert.match(refusal(sif.makeSif([])).message, /holds no system to run/)
  assert.match(refusal(sif.makeSif([{ content: CONTENT }, { content: CONTENT }])).message, /several systems/)
  const newer = Buffer.from(good)
  newer.write('02', 42)
  assert.equal(refusal(newer).code, 'BERTH_ESIFENGINE')
  assert.equal(refusal(sif.makeSif([{ architecture: '04', content: CONTENT }])).code, 'BERTH_EPLATFORM')
})

test('a thousand broken headers end in a coded error or in a place within the file', () => {
  const good = sif.makeSif([{ type: 0x4006, content: CONTENT }, { content: CONTENT }])
  // The same in every run (Numerical Recipes' linear congruence).
  let state = 1
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % below
  }
  const values = [0, 1, 2, 4, 0x7f, 0x80, 0xff]
  let found = 0
  for (let turn = 0; turn < 1000; turn++) {
    const bytes = Buffer.from(good.subarray(0, random(8) === 0 ? random(good.length) : good.length))
    const changes = 1 + random(6)
    // Half of them where it counts: the numbers of the header and the descriptors that are used.
    const spot = () => (random(2) === 0 ? 32 + random(96) : random(128 + 2 * sif.DESCRIPTOR_BYTES))
    for (let change = 0; change < changes; change++) {
      const at = spot()
      if (at < bytes.length) bytes[at] = values[random(values.length)] ?? 0
    }
    try {
      const part = find(bytes)
      if (part === undefined) continue
      found++
      assert.ok(part.offset >= 0 && part.size >= 0 && part.offset + part.size <= bytes.length)
    } catch (error) {
      assert.ok(
        error instanceof BerthError && /^BERTH_E(SIF|SIFENGINE|PLATFORM)$/.test(error.code),
        `${error}`,
      )
    }
  }
  assert.ok(found > 30)
})

function assigned(script: string): string[] {
  const known = new Map([['PATH', '/usr/bin']])
  const exported = new Set<string>()
  readAssignments(script, known, exported)
  return [...exported].map((name) => `${name}=${known.get(name)}`)
}

test('plain assignments of its scripts are its variables', () => {
  const cases: [string, string[]][] = [
    ['export PATH="/opt/x/bin:$PATH"', ['PATH=/opt/x/bin:/usr/bin']],
    ['export A="${A:-"two words"}"', ['A=two words']],
    ['export A="${A:-"a \\"b\\" \\$c \\`d\\`"}"', ['A=a "b" $c `d`']],
    ["export A='$B \"' # why", ['A=$B "']],
    ['A=1\nexport A', ['A=1']],
    ['A=1 B=two; export A B', ['A=1', 'B=two']],
    ['A=1', []],
    ['  export A=/x\nexport B=${A}/y:$A', ['A=/x', 'B=/x/y:/x']],
    ['export LD_LIBRARY_PATH=/opt/lib:$LD_LIBRARY_PATH', ['LD_LIBRARY_PATH=/opt/lib']],
    ['export A=x${B:+:$B}', ['A=x']],
    ['export A=', ['A=']],
  ]
  for (const [script, expected] of cases) assert.deepEqual(assigned(script), expected, script)
})

test('what takes a shell is left to a shell, and spoils nothing else', () => {
  const lines = [
    ...['export A=$(date)', 'export A=`date`', 'export A=$HOME/x', 'export A="open', "export A='open"],
    ...[
      'export A=${B',
      'export A=${B%x}',
      'export A=1 && B=2',
      '. /opt/activate',
      'export A=1 | cat',
      '[ 1 ] && export A=1',
    ],
    ...[
      'if true; then\nexport A=1\nfi',
      'f() {\nexport A=1\n}',
      'case x in\nx) export A=1 ;;\nesac',
      '=',
      'export',
      '${A}',
    ],
    `export A=${'${A:-'.repeat(1000)}`,
  ]
  for (const line of lines) assert.deepEqual(assigned(`${line}\nexport Z=1\n`), ['Z=1'], line)
})

test('labels, runscript and a start by the scripts themselves', () => {
  const file = (text: string) => Buffer.from(text)
  const config = sifConfig(
    {
      '.singularity.d/labels.json': file('{"a": "1", "b": 2}'),
      '.singularity.d/runscript': file('#!/bin/sh\n'),
      '.singularity.d/env/90-environment.sh': file('export A="${A:-"x"}"\nexport B=2\n'),
      '.singularity.d/env/10-docker2singularity.sh': file('export A="from docker"\n'),
    },
    'amd64',
  )
  assert.deepEqual(config.labels, { a: '1' })
  assert.deepEqual(config.cmd, ['/.singularity.d/runscript'])
  assert.deepEqual(config.env, ['A=from docker', 'B=2'])
  assert.match(config.entrypoint.join(' '), /^\/bin\/sh -c for script in .*exec "\$@" sh$/)
  assert.deepEqual(sifConfig({}, ''), {
    ...{ env: [], entrypoint: [], cmd: [], workdir: '', user: '', labels: {}, architecture: '' },
  })
})

test.run()
