// SPDX-License-Identifier: Apache-2.0
/** Slurm's REST daemon, as the user whose jobs it submits: it loads no plugin, so jobs say all in their variables. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { endOf } from './batch.js'
import type { Cluster } from './cluster.js'
import { until } from './command.js'
import { startDaemon } from './daemon.js'
import { exits } from './expect.js'
import { USER_A } from './users.js'

/** That of Slurm 22.05, which takes the environment as an object; later ones take a list. */
const API = 'v0.0.38'
const ADDRESS = `http://localhost/slurm/${API}/job/submit`
/** Posts stdin to the socket that is its argument; the daemon wants to see the user's own uid there. */
const CLIENT = `
const options = { socketPath: process.argv[1], method: 'POST', headers: { 'content-type': 'application/json' } }
const body = require('node:fs').readFileSync(0)
// Written at once, it has a length: the daemon knows no chunks.
require('node:http').request('${ADDRESS}', options, (answer) => answer.pipe(process.stdout)).end(body)
`

interface Slurmrestd {
  /** @returns exit code of the job, and what it said on both outputs */
  submit(script: string, environment: Record<string, string>): Promise<{ code: number; output: string }>
}

export async function startSlurmrestd(cluster: Cluster): Promise<Slurmrestd> {
  const socket = join(cluster.shared, 'rest.sock')
  const log = join(cluster.dir, 'slurmrestd.out')
  const user = ['setpriv', `--reuid=${USER_A.name}`, `--regid=${USER_A.name}`, '--init-groups']
  const daemon = ['slurmrestd', '-f', cluster.conf, '-a', 'rest_auth/local', '-s', `openapi/${API}`]
  const argv = [...user, '--pdeathsig', 'TERM', '--', ...daemon, `unix:${socket}`]
  const { stop } = startDaemon('slurmrestd', argv, log)
  cluster.undo.push('slurmrestd', stop)
  await until('slurmrestd', () => existsSync(socket))
  let jobs = 0
  return {
    async submit(script, environment) {
      const output = join(cluster.shared, `rest-${++jobs}.out`)
      const job = {
        ...{ name: `rest-${jobs}`, ntasks: 1, current_working_directory: cluster.shared },
        ...{ standard_output: output, environment: { PATH: '/usr/bin:/bin', ...environment } },
      }
      const input = JSON.stringify({ script, job })
      const answer = exits(await cluster.command([process.execPath, '-e', CLIENT, socket], { input }), 0)
      const { job_id: id, errors } = JSON.parse(answer.stdout) as { job_id?: number; errors: unknown[] }
      if (id === undefined || errors.length > 0)
        throw new Error(`slurmrestd refuses the job: ${answer.stdout}`)
      const code = await endOf(String(id), cluster.conf)
      return { code, output: existsSync(output) ? readFileSync(output, 'utf8') : '' }
    },
  }
}
