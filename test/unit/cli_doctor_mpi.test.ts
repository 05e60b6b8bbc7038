// SPDX-License-Identifier: Apache-2.0
/** What `berth doctor mpi` says of a node and of an image's plan. */
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Finding } from '../../src/cli/doctor.js'
import { describeMpi, judgeMpi, type MpiNode } from '../../src/cli/doctor_mpi.js'
import type { HostMpi } from '../../src/plan/host.js'
import type { MpiKeptCode } from '../../src/plan/mpi_kept.js'
import { loadSite } from '../../src/site/site.js'
import { suite } from '../suite.js'
import { withFiles } from './cdi_samples.js'

const test = suite('berth doctor mpi')

const C = {
  ...{ name: 'libmpi.so.12', path: '/opt/mpich/lib/libmpi.so.12.2.0', soname: 'libmpi.so.12' },
  ...{ needed: [], glibc: '2.34', runtime: [], defines: new Set(['MPI_Init']) },
}
const MPICH: HostMpi = {
  ...{
    family: 'mpich',
    major: 12,
    machine: 62,
    libraries: { c: C, fort: { ...C, name: 'libmpifort.so.12' } },
  },
  ...{ dependencies: new Map(), missing: [], origin: "the node's ld.so.cache", named: false },
}

function show(findings: readonly Finding[]): string {
  return findings
    .map(
      ({ check, state, found, fix }) => `${state} ${check}: ${found}${fix === undefined ? '' : ` | ${fix}`}`,
    )
    .join('\n')
}

function node(more: Partial<MpiNode>, conf = ''): string {
  return withFiles([{ 'berth.conf': conf }], ([directory = '']) => {
    const site = loadSite({ config: join(directory, 'berth.conf') })
    return show(describeMpi({ site, mpi: [], problems: [], environment: {}, ...more }))
  })
}

test('a node tells its MPI, where it was found, and who starts the ranks', () => {
  const said = node({ mpi: [MPICH], environment: { PMI_FD: '9' } }, 'container_mpi = image\n')
  assert.match(said, /^ok mode: container_mpi=image \(.*berth\.conf:1\)/)
  assert.match(
    said,
    /ok MPI: mpich ABI 12: \/opt\/mpich\/lib\/libmpi\.so\.12\.2\.0 \(the node's ld\.so\.cache\)/,
  )
  assert.match(said, /ok process manager: PMI2 of Slurm/)
  assert.match(node({ environment: { PMIX_VERSION: '4.2.2' } }), /ok process manager: PMIx 4\.2\.2 of Slurm/)
})

test('what is missing comes with what to change', () => {
  const said = node({ mpi: [{ ...MPICH, missing: ['libcxi.so.1'] }], problems: ['/x is not used: others'] })
  assert.match(said, /warn MPI: .* does not find libcxi\.so\.1 \| install that library/)
  assert.match(said, /warn MPI: \/x is not used: others \| root alone/)
  assert.match(said, /warn process manager: none .* \| run it in a step with --mpi=pmix/)
  assert.match(node({}), /ok MPI: none in the node's ld\.so\.cache; mpi_host names others/)
})

test('of an image: only what concerns MPI, and by its code a way out where its own MPI is kept', () => {
  const ok = (found: string, code?: MpiKeptCode): Finding => ({
    ...{ check: 'image', state: 'ok', found },
    ...(code === undefined ? {} : { code }),
  })
  const said = show(
    judgeMpi([
      ok("mpi: the image's MPICH (/usr/lib/libmpi.so.12) is replaced by the node's /opt/x (mpi_host)"),
      ok('gpu: something else'),
      ok('mpi: in whatever words', 'glibc'),
      ok('mpi: A is kept', 'no-family'),
      ok('mpi: B is kept, as it should', 'unnamed'),
      { ...ok("the node's MPI cannot be used in x"), state: 'fail', fix: 'what the error says' },
    ]),
  )
  assert.match(said, /^ok image: mpi: .* is replaced by/)
  assert.not.match(said, /gpu:/)
  assert.match(said, /warn image: mpi: in whatever words \| build the image on a newer distribution/)
  assert.match(said, /warn image: mpi: A is kept \| name its directory with mpi_host/)
  assert.match(said, /ok image: mpi: B/)
  assert.match(said, /fail image: .* \| what the error says/)
  assert.is(show(judgeMpi([ok('gpu: x')])), 'ok image: nothing of the node concerns its MPI')
})

test.run()
