// SPDX-License-Identifier: Apache-2.0
/** --container-save as users of pyxis know it, and what happens when it cannot be done. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { type Outcome, type RunOptions, run, until } from './command.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { USER_A } from './users.js'

const test = suite('save')
const at = useCluster(test)
const WRITABLE = '--container-writable'

const file = (name: string): string => join(at.cluster.shared, name)

function srun(
  image: string,
  options: readonly string[],
  command: string,
  more: RunOptions = {},
): Promise<Outcome> {
  const args = ['-n1', '-N1', `--container-image=${image}`, WRITABLE, ...options, 'sh', '-c', command]
  return at.cluster.srun(args, more)
}

/** A step that was canceled is the worker's to clear up, which srun does not wait for. */
function leavesNothing(directory = at.cluster.shared): Promise<void> {
  const left = () => readdirSync(directory).filter((name) => name.startsWith('.berth'))
  return until('the end of unfinished files', () => left().length === 0)
}

test('a saved container is an image with the changes, complete when srun returns', async () => {
  const path = file('first.sqsh')
  const saved = exits(
    await srun(at.images.debian, [`--container-save=${path}`], 'echo new > /opt/added; rm /etc/motd; true'),
    0,
  )
  saysNot(saved, /saving|saved|error|warning/i)
  assert.is(statSync(path).uid, USER_A.uid)
  prints(await srun(path, [], 'cat /opt/added; ls /etc/motd 2>/dev/null; head -c4 /bin/sh | wc -c'), [
    'new',
    '4',
  ])
  await leavesNothing()
})

test('environment and working directory of the image survive', async () => {
  const path = file('environment.sqsh')
  const show = 'env | sort | grep -v "^SLURM\\|^_=\\|^PMI\\|TMPDIR"; pwd'
  const before = lines(await srun(at.images.debian, [`--container-save=${path}`], show))
  const kept = (list: string[]) => list.filter((line) => !/^(SRUN|HOSTNAME|SLURM)/.test(line))
  assert.equal(kept(lines(await srun(path, [], show))), kept(before))
})

test('a path relative to the directory of the step', async () => {
  exits(await srun(at.images.debian, ['--container-save=./relative.sqsh'], 'echo r > /r'), 0)
  prints(await srun('./relative.sqsh', [], 'cat /r'), ['r'])
})

test('over the image that the step was started from, three times in a row', async () => {
  const path = file('again.sqsh')
  exits(await srun(at.images.debian, [`--container-save=${path}`], 'echo 0 > /count'), 0)
  for (const number of [1, 2, 3])
    exits(
      await srun(
        path,
        [`--container-save=${path}`],
        `echo ${number} >> /count; rm -f /only$((${number} - 1)); touch /only${number}`,
      ),
      0,
    )
  prints(await srun(path, [], 'cat /count; ls / | grep only'), ['0', '1', '2', '3', 'only3'])
})

test('directories are refused before anything runs', async () => {
  mkdirSync(file('directory'))
  for (const path of ['/', './', '/tmp/', 'directory', '..', '/tmp']) {
    const seen = refuses(
      await srun(at.images.debian, [`--container-save=${path}`], 'echo it-ran'),
      /target is a directory/,
    )
    saysNot(seen, /it-ran/)
  }
})

test('what cannot be written is said before anything runs', async () => {
  for (const [path, clause] of [
    ['/nowhere/x.sqsh', /No such file or directory/],
    ['/etc/x.sqsh', /Permission denied/],
    ['/dev/null/x.sqsh', /Not a directory/],
  ] as const) {
    const seen = refuses(await srun(at.images.debian, [`--container-save=${path}`], 'echo it-ran'), clause)
    saysNot(seen, /it-ran/)
  }
})

test("the flag's file only, when a variable names another", async () => {
  const env = { PYXIS_CONTAINER_SAVE: file('variable.sqsh') }
  exits(await srun(at.images.debian, [`--container-save=${file('flag.sqsh')}`], 'true', { env }), 0)
  assert.ok(existsSync(file('flag.sqsh')))
  assert.not(existsSync(file('variable.sqsh')))
  exits(await srun(at.images.debian, [], 'true', { env }), 0)
  assert.ok(existsSync(env.PYXIS_CONTAINER_SAVE))
})

test("the exit code is the command's, and a failing command is saved too", async () => {
  const path = file('failed.sqsh')
  exits(await srun(at.images.debian, [`--container-save=${path}`], 'echo f > /f; exit 7'), 7)
  prints(await srun(path, [], 'cat /f'), ['f'])
})

test('several tasks: once, after the last one', async () => {
  const path = file('tasks.sqsh')
  const args = [
    '-n4',
    '-N1',
    '--overcommit',
    `--container-image=${at.images.debian}`,
    WRITABLE,
    `--container-save=${path}`,
  ]
  exits(
    await at.cluster.srun([
      ...args,
      'sh',
      '-c',
      'sleep 0.$SLURM_PROCID; echo $SLURM_PROCID > /task$SLURM_PROCID',
    ]),
    0,
  )
  prints(await srun(path, [], 'cat /task0 /task1 /task2 /task3'), ['0', '1', '2', '3'])
})

test('a task that is lost before its container: nothing is saved, and the others say so', async () => {
  const path = file('lost.sqsh')
  const prolog = file('lose_second.sh')
  writeFileSync(prolog, '#!/bin/sh\n[ "$SLURM_LOCALID" = 0 ] || kill -9 $PPID\n')
  chmodSync(prolog, 0o755)
  const args = ['-n2', '-N1', '--overcommit', `--task-prolog=${prolog}`]
  const container = [`--container-image=${at.images.debian}`, WRITABLE, `--container-save=${path}`]
  const ended = await at.cluster.srun([...args, ...container, 'sh', '-c', 'echo ran'])
  says(exits(ended, 128 + 9), /^ran$/m)
  says(ended, /berth: warning: .*lost\.sqsh was not saved: a task did not start, or was killed/)
  assert.not(existsSync(path))
  await leavesNothing()
})

test('two nodes: the first one saves', async () => {
  const path = file('nodes.sqsh')
  const args = ['-n2', '-N2', `--container-image=${at.images.debian}`, WRITABLE, `--container-save=${path}`]
  exits(await at.cluster.srun([...args, 'sh', '-c', 'echo $SLURM_NODEID > /node']), 0)
  prints(await srun(path, [], 'cat /node'), ['0'])
})

test('a command that is not there: nothing is saved', async () => {
  const path = file('nothing.sqsh')
  const args = [
    '-n1',
    '-N1',
    `--container-image=${at.images.debian}`,
    `--container-save=${path}`,
    'no-such-program',
  ]
  exits(await at.cluster.srun(args), 127)
  assert.not(existsSync(path))
})

test('a canceled step saves nothing, and an older file stays', async () => {
  const path = file('old.sqsh')
  writeFileSync(path, 'old')
  chmodSync(path, 0o666)
  const args = [
    'srun',
    '-n1',
    '-N1',
    '--job-name=to-cancel',
    `--container-image=${at.images.debian}`,
    WRITABLE,
  ]
  const running = at.cluster.start([
    ...args,
    `--container-save=${path}`,
    'sh',
    '-c',
    'echo started; sleep 100',
  ])
  const job = async () =>
    (await at.cluster.command(['squeue', '-h', '-t', 'R', '-n', 'to-cancel', '-o', '%A'])).stdout.trim()
  await until('the step', async () => (await job()) !== '' && running.output().includes('started'))
  exits(await at.cluster.command(['scancel', await job()]), 0)
  fails(await running.done)
  assert.is(readFileSync(path, 'utf8'), 'old')
  await leavesNothing()
})

test('a full disk: an error, a code that is not 0, and the old file', async () => {
  const small = file('small')
  mkdirSync(small)
  // slurmd has a mount namespace of its own, and the step with it.
  const inside = (...command: string[]) =>
    run(['nsenter', '-m', '-t', String(at.cluster.nodes[0]?.pid()), '--', ...command])
  const options = `size=100k,uid=${USER_A.uid},mode=700`
  exits(await inside('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', small), 0)
  try {
    exits(await inside('sh', '-c', `echo old > ${small}/x.sqsh`), 0)
    const target = `--container-save=${join(small, 'x.sqsh')}`
    const seen = fails(await srun(at.images.debian, ['-w', at.cluster.nodes[0]?.name ?? '', target], 'true'))
    says(says(seen, /error\[BERTH_ESAVE\]/), /No space left on device/)
    const left = exits(await inside('sh', '-c', `cd ${small} && ls -A && cat x.sqsh`), 0)
    assert.equal(lines(left), ['x.sqsh', 'old'])
  } finally {
    // What told the user of the error may not have closed all of its files yet.
    await until('its unmount', async () => (await inside('umount', small)).code === 0)
  }
})

test("signals reach the command, and its death is the step's", async () => {
  for (const signal of ['TERM', 'SEGV', 'KILL']) {
    const bare = await at.cluster.srun(['-n1', 'sh', '-c', `kill -${signal} $$`])
    const saved = await srun(
      at.images.debian,
      [`--container-save=${file('signal.sqsh')}`],
      `kill -${signal} $$`,
    )
    assert.is(saved.code, bare.code, signal)
  }
})

test('files that the user made unreadable are saved', async () => {
  const path = file('unreadable.sqsh')
  exits(
    await srun(
      at.images.debian,
      [`--container-save=${path}`],
      'mkdir /d; echo hidden > /d/f; chmod 000 /d/f /d',
    ),
    0,
  )
  prints(await srun(path, [], 'stat -c %a /d; chmod 700 /d; chmod 400 /d/f; cat /d/f'), ['0', 'hidden'])
})

test('mount points of berth are not in the image', async () => {
  const path = file('clean.sqsh')
  const options = [`--container-save=${path}`, `--container-mounts=${at.cluster.shared}:/mnt/new/place`]
  exits(await srun(at.images.debian, options, 'true'), 0)
  const list = (await run(['unsquashfs', '-l', '-d', '', path])).stdout
  assert.not(list.includes('/mnt/new'))
})

test('a batch script is saved as well', async () => {
  const path = file('batch.sqsh')
  const options = ['-n1', `--container-image=${at.images.debian}`, WRITABLE, `--container-save=${path}`]
  const seen = await at.cluster.batch('#!/bin/sh\necho from-batch > /batch\n', options)
  exits(seen, 0)
  prints(await srun(path, [], 'cat /batch'), ['from-batch'])
})

test('a signal for the step reaches the command once', async () => {
  const path = file('signaled.sqsh')
  const script = 'trap "echo got; done=1" USR1; echo ready; while [ -z "$done" ]; do sleep 0.2; done; sleep 1'
  const args = ['srun', '-n1', '-N1', '--job-name=to-signal', `--container-image=${at.images.debian}`]
  const running = at.cluster.start([...args, WRITABLE, `--container-save=${path}`, 'sh', '-c', script])
  await running.sees(/ready/)
  const job = (await at.cluster.command(['squeue', '-h', '-n', 'to-signal', '-o', '%A'])).stdout.trim()
  exits(await at.cluster.command(['scancel', '-s', 'USR1', `${job}.0`]), 0)
  const seen = exits(await running.done, 0)
  assert.is(seen.stdout.split('\n').filter((line) => line === 'got').length, 1)
  assert.ok(existsSync(path))
})

test('a worker that was killed meanwhile: an error, and the command ran to its end', async () => {
  const [node] = at.cluster.nodes
  const path = file('orphan.sqsh')
  const args = ['srun', '-n1', '-N1', '-w', node?.name ?? '', `--container-image=${at.images.debian}`]
  const go = file('go')
  const wait = `echo ready; while [ ! -e ${go} ]; do sleep 0.2; done; echo ended`
  const mounts = `--container-mounts=${at.cluster.shared}`
  const running = at.cluster.start([...args, WRITABLE, mounts, `--container-save=${path}`, 'sh', '-c', wait])
  await running.sees(/ready/)
  process.kill(node?.workerPid() ?? 0, 'SIGKILL')
  writeFileSync(go, '')
  const seen = exits(await running.done, 125)
  says(says(seen, /error\[BERTH_ESAVE\]/), /ended/)
  assert.not(existsSync(path))
})

test('a named container is saved with all that its steps have made', async () => {
  const path = file('named.sqsh')
  exits(await srun(at.images.debian, ['--container-name=to-save'], 'echo one > /one'), 0)
  exits(
    await srun(at.images.debian, ['--container-name=to-save', `--container-save=${path}`], 'echo two > /two'),
    0,
  )
  prints(await srun(path, [], 'cat /one /two'), ['one', 'two'])
})

test.run()
