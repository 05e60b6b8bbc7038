// SPDX-License-Identifier: Apache-2.0
/** Around an entrypoint: what the launcher hides from it, and gives back to the command behind it. */
import { spawnSync } from 'node:child_process'
import { chmodSync, closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { Tag, Type } from '../../../src/worker/frame.js'
import { suite } from '../../suite.js'
import { bare, directory, launch, launcher } from './launch.js'

const test = suite('entrypoint in the launcher')
test.after(() => directory.remove())
const missing = existsSync(launcher) ? undefined : 'npm run build:slurm'

interface Resumed {
  status: number | null
  stdout: string
  stderr: string
}

/** As an entrypoint executes it: state at descriptor 3, the command's outputs at 4 and 5. */
function resume(option: string, state: string, env: Record<string, string>): Resumed {
  const file = join(directory.path, 'state')
  writeFileSync(file, state)
  const fd = openSync(file, 'r')
  try {
    const show =
      'echo $A $KEEP $B; echo problem >&2; for fd in 3 4 5; do test -e /proc/self/fd/$fd && echo left $fd; done'
    const { status, output } = spawnSync(launcher, [option, 'sh', '-c', show], {
      argv0: '/.berth/exec',
      env,
      stdio: ['ignore', 'ignore', 'pipe', fd, 'pipe', 'pipe'],
      encoding: 'utf8',
    })
    const [stderr = '', , saved = '', savedError = ''] = output.slice(2).map((text) => text ?? '')
    return { status, stdout: saved, stderr: stderr + savedError }
  } finally {
    closeSync(fd)
  }
}

test.needs(missing, 'a variable is copied from the task’s own, where it has one', async () => {
  const copies = [
    [Tag.ENV_COPY, 'RANK=SLURM_PROCID'],
    [Tag.ENV_COPY, 'NONE=ABSENT'],
    [Tag.ENV_SET, 'SLURM_PROCID=7'],
  ] as const
  const told = await launch([[Type.HELLO, bare(...copies)]], ['-c', 'echo "$RANK [$NONE]"'], {
    env: { RANK: 'stale', NONE: 'own' },
  })
  assert.is(told.stdout, '7 [own]\n')
})

test.needs(missing, 'an entrypoint sees what it may, is not heard, and its words are whole', async () => {
  const script = join(directory.path, 'entry.sh')
  const seen = join(directory.path, 'seen')
  writeFileSync(seen, '')
  chmodSync(seen, 0o666)
  const body = `#!/bin/sh\necho loud; echo loud >&2; echo "$#:$1:$3:$4 $IMAGE $NAMED $SLURM_X [$HOST]" > ${seen}\nexit 3\n`
  writeFileSync(script, body, { mode: 0o755 })
  const fields = [
    [Tag.ENTRYPOINT, script],
    [Tag.ENV_SET, 'IMAGE=image'],
    [Tag.ENV_ENTRY, 'SLURM_*'],
    [Tag.ENV_KEEP, 'NAMED'],
  ] as const
  const env = { HOST: 'host', NAMED: 'named', SLURM_X: 'x' }
  const told = await launch([[Type.HELLO, bare(...fields)]], ['a b'], { env })
  assert.is(told.stdout + told.stderr, '')
  assert.is(told.status, 3)
  const { stdout } = spawnSync('cat', [seen], { encoding: 'utf8' })
  assert.is(stdout, '4:/.berth/exec:sh:a b image named x []\n')
})

/** What the command prints behind an entrypoint that executes what it is given. */
async function behindEntrypoint(limits: readonly string[], value: string): Promise<string> {
  const script = join(directory.path, 'passing.sh')
  const body = `#!/bin/bash\nshift\nexec -a /.berth/exec ${launcher} "$@"\n`
  writeFileSync(script, body, { mode: 0o755 })
  const rules = [[Type.HELLO, bare([Tag.ENTRYPOINT, script])]] as const
  const show = ['-c', 'printf %s "$VALUE" | wc -c; echo heard >&2; ls /proc/self/fd | wc -l']
  const told = await launch([...rules], show, { env: { VALUE: value }, limits })
  return `${told.signal ?? told.status} ${told.stdout}${told.stderr}`
}

test.needs(
  missing,
  'small limits of the job on files and descriptors do not hold up an entrypoint',
  async () => {
    for (const length of [10, 120_000]) {
      const value = 'x'.repeat(length)
      const seen = await behindEntrypoint([], value)
      assert.match(seen, new RegExp(`^0 ${length}\\n\\d+\\nheard\\n$`))
      for (const limits of [
        '--fsize=0',
        '--fsize=1000',
        '--nofile=16',
        '--nofile=66',
        '--fsize=0 --nofile=12',
      ])
        assert.is(await behindEntrypoint(limits.split(' '), value), seen, `${limits}, ${length}`)
    }
  },
)

test.needs(missing, 'a missing entrypoint is told of where the user looks', async () => {
  const told = await launch([[Type.HELLO, bare([Tag.ENTRYPOINT, '/no/such/entry'])]], ['-c', 'echo ran'])
  assert.is(told.status, 127)
  assert.match(told.stderr, /\/no\/such\/entry: not found/)
  assert.is(told.stdout, '')
})

test.needs(missing, 'the command’s environment comes back, with what the entrypoint added', () => {
  const state = 'A=1\0KEEP=host\0PATH=/usr/bin:/bin\0\0KEEP\0'
  const env = { A: 'entry', KEEP: 'changed', B: 'new', SHLVL: '9' }
  const told = resume('--resume=4,5,3', state, env)
  assert.is(told.stderr, 'problem\n')
  assert.is(told.stdout, 'entry host new\n')
})

test.needs(missing, 'an entrypoint that lost what it was given is named', () => {
  for (const option of ['--resume=4,5,77', '--resume=x', '--resume=4,5']) {
    const told = resume(option, '', {})
    assert.is(told.status, 125, option)
    assert.match(told.stderr, /error\[BERTH_EENTRYPOINT\]/)
  }
})

test.run()
