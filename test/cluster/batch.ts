// SPDX-License-Identifier: Apache-2.0
/** A batch job from submission to its end; asks more often than `sbatch --wait`, which sleeps ten seconds. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Outcome, type RunOptions, run, until } from './command.js'

interface BatchPlace {
  shared: string
  conf: string
  command(argv: readonly string[], options?: RunOptions): Promise<Outcome>
}

const JOB_TIME_MAX_MS = 300_000
/** slurm.h: states in which a job ends; anything else will still change. */
const ENDED = /JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE)\b/

let batches = 0

/** The outcome has the job's exit code and its two output files; sbatch's own when it refused. */
export async function runBatch(
  place: BatchPlace,
  script: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Outcome> {
  const file = join(place.shared, `batch-${process.pid}-${batches++}`)
  writeFileSync(`${file}.sh`, script, { mode: 0o755 })
  const files = ['-o', `${file}.out`, '-e', `${file}.err`]
  const submitted = await place.command(['sbatch', '--parsable', ...files, ...args, `${file}.sh`], options)
  if (submitted.code !== 0) return submitted
  const code = await endOf(submitted.stdout.trim(), place.conf)
  const [stdout = '', stderr = ''] = ['out', 'err'].map((name) =>
    existsSync(`${file}.${name}`) ? readFileSync(`${file}.${name}`, 'utf8') : '',
  )
  return {
    ...submitted,
    code,
    stdout,
    stderr: submitted.stderr + stderr,
    output: submitted.stderr + stderr + stdout,
  }
}

/** Exit code of the job, the highest one of an array; a signal counts as 128 and more, as in a shell. */
export async function endOf(id: string, conf: string): Promise<number> {
  let jobs: string[] = []
  await until(
    `the end of job ${id}`,
    async () => {
      const seen = await run(['scontrol', '-o', 'show', 'job', id], { env: { SLURM_CONF: conf } })
      jobs = seen.stdout.split('\n').filter((line) => line !== '')
      return jobs.length > 0 && jobs.every((line) => ENDED.test(line))
    },
    JOB_TIME_MAX_MS,
    100,
  )
  const codes = jobs.map((line) => {
    const [, code = '0', signal = '0'] = /\bExitCode=(\d+):(\d+)/.exec(line) ?? []
    const failed = /JobState=COMPLETED/.test(line) ? 0 : 1
    return Number(signal) > 0 ? 128 + Number(signal) : Math.max(Number(code), failed)
  })
  return Math.max(...codes)
}
