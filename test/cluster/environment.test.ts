// SPDX-License-Identifier: Apache-2.0
/** Which variables a task sees: the image's over the host's, except where --container-env says otherwise. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../suite.js'
import type { Outcome } from './command.js'
import { exits, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { hostRelease } from './images.js'

const test = suite('environment')
const at = useCluster(test, { nodes: [{}] })
const show = (
  env: Record<string, string>,
  names: readonly string[],
  ...options: string[]
): Promise<Outcome> =>
  at.cluster.srun(
    [
      '-n1',
      `--container-image=${at.images.debian}`,
      ...options,
      'sh',
      '-c',
      names.map((name) => `echo ${name}=[$${name}]`).join('; '),
    ],
    { env },
  )

test('host variables that the image does not set pass', async () => {
  prints(await show({ FOO: 'bar', SPACED: 'a  b' }, ['FOO', 'SPACED']), ['FOO=[bar]', 'SPACED=[a b]'])
})

test('the image wins where both set one', async () => {
  const host = { BERTH_TEST_IMAGE: 'host', LD_LIBRARY_PATH: '/host' }
  prints(await show(host, ['BERTH_TEST_IMAGE', 'LD_LIBRARY_PATH']), [
    'BERTH_TEST_IMAGE=[from-image]',
    'LD_LIBRARY_PATH=[/opt/tool/lib]',
  ])
})

test('--container-env lets the host win, wherever the name stands in the list', async () => {
  for (const list of ['BERTH_TEST_IMAGE,FOO', 'FOO,BERTH_TEST_IMAGE']) {
    prints(
      await show(
        { BERTH_TEST_IMAGE: 'host', FOO: 'x' },
        ['BERTH_TEST_IMAGE', 'FOO'],
        `--container-env=${list}`,
      ),
      ['BERTH_TEST_IMAGE=[host]', 'FOO=[x]'],
    )
  }
})

test('a name that the host does not set keeps the image’s value', async () => {
  prints(await show({}, ['BERTH_TEST_IMAGE'], '--container-env=BERTH_TEST_IMAGE'), [
    'BERTH_TEST_IMAGE=[from-image]',
  ])
})

test('the flag’s list replaces the variable’s', async () => {
  const env = { BERTH_TEST_IMAGE: 'host', LD_LIBRARY_PATH: '/host', PYXIS_CONTAINER_ENV: 'LD_LIBRARY_PATH' }
  prints(await show(env, ['BERTH_TEST_IMAGE', 'LD_LIBRARY_PATH'], '--container-env=BERTH_TEST_IMAGE'), [
    'BERTH_TEST_IMAGE=[host]',
    'LD_LIBRARY_PATH=[/opt/tool/lib]',
  ])
})

test('the terminal passes, the host’s locale does not unless named', async () => {
  prints(await show({ TERM: 'dumb', LANG: 'en_US.UTF-8', LC_ALL: 'de_DE' }, ['TERM', 'LANG', 'LC_ALL']), [
    'TERM=[dumb]',
    'LANG=[]',
    'LC_ALL=[]',
  ])
  prints(await show({ LANG: 'en_US.UTF-8' }, ['LANG'], '--container-env=LANG'), ['LANG=[en_US.UTF-8]'])
  // The image has no such locale, of which perl complains when it is asked for.
  const perl = (...options: string[]) =>
    at.cluster.srun(['-n1', `--container-image=${at.images.debian}`, ...options, 'perl', '-e', '1'], {
      env: { LANG: 'en_US.UTF-8' },
    })
  saysNot(exits(await perl(), 0), /Setting locale failed/)
  says(exits(await perl('--container-env=LANG'), 0), /Setting locale failed/)
})

test('per-task variables of Slurm are each task’s own', async () => {
  const seen = await at.cluster.srun([
    '-n3',
    `--container-image=${at.images.debian}`,
    'sh',
    '-c',
    'echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS',
  ])
  prints(seen, ['0 0 3', '1 1 3', '2 2 3'])
})

test('a large environment arrives', async () => {
  const env = Object.fromEntries(
    Array.from({ length: 300 }, (_, index) => [`BULK_${index}`, 'v'.repeat(1000)]),
  )
  prints(await show(env, ['BULK_0', 'BULK_299']), [
    `BULK_0=[${'v'.repeat(1000)}]`,
    `BULK_299=[${'v'.repeat(1000)}]`,
  ])
})

test('berth’s own variables do not leak', async () => {
  const seen = await at.cluster.srun(['-n1', `--container-image=${at.images.debian}`, 'env'])
  says(exits(seen, 0), /^SLURM_JOB_ID=/m)
  if (/^SLURM_BERTH_ARGV0=/m.test(seen.stdout)) throw new Error(`leaks SLURM_BERTH_ARGV0:\n${seen.stdout}`)
})

test('empty and trailing comma are refused', async () => {
  for (const list of ['', 'FOO,'])
    refuses(await show({}, ['FOO'], `--container-env=${list}`), /container-env/)
})

test('a task prolog runs outside, with its exports seen inside', async () => {
  const prolog = join(at.cluster.shared, 'prolog.sh')
  writeFileSync(prolog, '#!/bin/sh\n. /etc/os-release\necho export PROLOG_RAN_ON=$VERSION_CODENAME\n', {
    mode: 0o755,
  })
  prints(await show({}, ['PROLOG_RAN_ON'], `--task-prolog=${prolog}`), [`PROLOG_RAN_ON=[${hostRelease()}]`])
})

test.run()
