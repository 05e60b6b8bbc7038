// SPDX-License-Identifier: Apache-2.0
/** What MPI libraries need of Slurm's process managers inside, row by row as users of pyxis know it. */
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import type { Outcome, RunOptions } from './command.js'
import { countLines, exits, lines, prints, says } from './expect.js'
import { useCluster } from './fixture.js'
import { publishLike } from './images.js'
import { makeTar } from './tar.js'

const test = suite('pyxis: MPI')
const at = useCluster(test, { nodes: [{}] })

function srun(options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> {
  return at.cluster.srun([...options, `--container-image=${at.images.debian}`, 'sh', '-c', command], run)
}

test('pmix: each task has its own rank', async () => {
  prints(await srun(['-n4', '--mpi=pmix'], 'echo $PMIX_RANK'), ['0', '1', '2', '3'])
  const apart = ['-n2', '--mpi=pmix', '--container-unshare=pid']
  prints(await srun(apart, 'echo $PMIX_RANK; test -w "$PMIX_SERVER_TMPDIR" || exit 3'), ['0', '1'])
})

test('pmix: the server’s directory is mounted, and the modules are named', async () => {
  const check = [
    'findmnt -n -o TARGET "$PMIX_SERVER_TMPDIR"',
    'test -n "$PMIX_MCA_psec" && test "$PMIX_MCA_psec" = "$PMIX_SECURITY_MODE" && echo psec',
    'test -n "$PMIX_MCA_gds" && test "$PMIX_MCA_gds" = "$PMIX_GDS_MODULE" && echo gds',
    'ls -A "$PMIX_SERVER_TMPDIR" | head -n1 | grep -c .',
  ].join('; ')
  const seen = lines(await srun(['-n1', '--mpi=pmix'], check))
  assert.match(seen[0] ?? '', /^\//)
  assert.equal(seen.slice(1), ['psec', 'gds', '1'])
})

test('pmix: with its directory elsewhere', async () => {
  for (const base of ['/dev/shm', '/var/tmp']) {
    const run = { env: { SLURM_PMIX_TMPDIR: base } }
    exits(await srun(['-n2', '--mpi=pmix'], 'test -d "$PMIX_SERVER_TMPDIR"', run), 0)
  }
})

test('pmix: for root inside it cannot work, which is said', async () => {
  const seen = await srun(['-n2', '--mpi=pmix', '--container-remap-root'], 'id -u')
  assert.is(countLines(seen, /berth: warning: .*PMIx/), 1)
  prints(seen, ['0', '0'])
})

test('pmi2: the descriptor is an open socket, ranks are each task’s own', async () => {
  const check = 'echo $PMI_RANK $PMI_SIZE; readlink /proc/self/fd/$PMI_FD'
  const seen = exits(await srun(['-n4', '--mpi=pmi2'], check), 0)
  for (const rank of [0, 1, 2, 3]) says(seen, new RegExp(`^${rank} 4$`, 'm'))
  assert.is(seen.stdout.match(/^socket:/gm)?.length, 4)
})

test('the variables stay each task’s own behind an entrypoint and for root', async () => {
  const options = ['-n3', '--mpi=pmi2', '--container-remap-root', '--container-entrypoint']
  const layer = makeTar([
    { name: 'entry.sh', mode: 0o755, content: '#!/bin/sh\nexport SEEN=$PMI_RANK\nexec "$@"\n' },
  ])
  const image = await publishLike(at.registry, 'pmi-entry', { layers: [layer], entrypoint: ['/entry.sh'] })
  const ask = ['sh', '-c', 'echo $PMI_RANK $SEEN; readlink /proc/self/fd/$PMI_FD | cut -d: -f1']
  const seen = await at.cluster.srun([...options, `--container-image=${image}`, ...ask])
  prints(seen, ['0 0', '1 1', '2 2', 'socket', 'socket', 'socket'])
})

test.run()
