// SPDX-License-Identifier: Apache-2.0
/**
 * A throwaway Slurm cluster from Debian's packages: own munge key and socket, free ports on loopback, one temporary
 * directory, one slurmd per node in its own mount namespace with private /run and spool directories.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runBatch } from './batch.js'
import { must, type Outcome, type Running, type RunOptions, run, start, until } from './command.js'
import { type ClusterSetup, chooseFirstJob, slurmConf } from './config.js'
import { freePorts, sendSignal, startDaemon } from './daemon.js'
import { stepDaemons } from './leftovers.js'
import { startMunge } from './munge.js'
import { findPlugin, type Node, type NodeOptions, prepareNode, waitForNodes } from './node.js'
import { makeUndo, stillHere, type Undo } from './undo.js'
import { ensureUsers, USER_A } from './users.js'

export type { Node } from './node.js'

export interface ClusterOptions {
  /** Two nodes with the plugin by default. */
  nodes?: readonly NodeOptions[]
  /** Further plugstack arguments for all, e.g. `idle_seconds=2`. */
  plugArgs?: string[]
  /** The optional prolog plugin, which prefetches. */
  prolog?: boolean
  /** Text of berth.conf, passed by config=. */
  berthConf?: string
  /** Lines added to slurm.conf. */
  slurmConf?: string[]
  /** Added to each node's line in it, e.g. Gres=gpu:2. */
  nodeConf?: string
  proctrack?: 'linuxproc' | 'pgid' | 'cgroup'
  taskPlugin?: 'none' | 'cgroup'
  /** Further files beside each node's slurm.conf, e.g. cgroup.conf; `dir` is that node's directory. */
  confFiles?: (dir: string) => Record<string, string>
  /** Where the temporary directory is made; /tmp by default, which job_container/tmpfs hides from jobs. */
  base?: string
  /** The cluster stays when this process ends. */
  outlive?: boolean
}

export interface Cluster {
  readonly dir: string
  readonly conf: string
  readonly nodes: readonly Node[]
  /** A directory on which everyone may write, visible on all nodes. */
  readonly shared: string
  readonly undo: Undo
  /** All four run as `berth-a` in the shared directory unless told otherwise. */
  srun(args: readonly string[], options?: RunOptions): Promise<Outcome>
  sbatch(args: readonly string[], options?: RunOptions): Promise<Outcome>
  salloc(args: readonly string[], options?: RunOptions): Promise<Outcome>
  command(argv: readonly string[], options?: RunOptions): Promise<Outcome>
  /** The same without waiting for the end. */
  start(argv: readonly string[], options?: RunOptions): Running
  /** As root. */
  scontrol(args: readonly string[]): Promise<Outcome>
  /** Submits `script`, waits for its end and answers what it wrote and its exit code. */
  batch(script: string, args: readonly string[], options?: RunOptions): Promise<Outcome>
  nodeState(name: string): Promise<string>
  stop(): Promise<void>
}

/** Steps end within KillWait (2 s) of their job. */
const STEPS_END_MS_MAX = 10_000

/** Starts it and waits until all nodes are idle. @throws Error with the daemons' logs when they do not come up. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const undo = makeUndo()
  try {
    return await startAll(options, undo)
  } catch (error) {
    await undo.run()
    throw error
  }
}

async function startAll(options: ClusterOptions, undo: Undo): Promise<Cluster> {
  await ensureUsers()
  const dir = makeDirectory(undo, options.base ?? tmpdir())
  const outlive = options.outlive ?? false
  const nodeOptions = options.nodes ?? [{}, {}]
  const ports = await freePorts(nodeOptions.length + 1)
  const plugin = await findPlugin(dir)
  const nodes = nodeOptions.map((node, index) => prepareNode(dir, index, node, options, plugin))
  const setup: ClusterSetup = {
    dir,
    controllerPort: ports[nodes.length] ?? 0,
    nodes: nodes.map((node, index) => ({
      name: node.name,
      port: ports[index] ?? 0,
      plugstack: node.plugstack,
    })),
    plugstack: join(dir, 'plugstack.conf'),
    firstJob: chooseFirstJob(),
    proctrack: options.proctrack ?? 'linuxproc',
    taskPlugin: options.taskPlugin ?? 'none',
    extra: options.slurmConf ?? [],
    ...(options.nodeConf === undefined ? {} : { nodeConf: options.nodeConf }),
  }
  const first = nodes.find((node) => node.line !== '')
  writeFileSync(setup.plugstack, first?.line ?? '')
  const conf = join(dir, 'slurm.conf')
  writeFileSync(conf, slurmConf(setup, setup.plugstack))
  await startMunge(dir, undo, outlive)
  const controller = startDaemon(
    'slurmctld',
    ['slurmctld', '-D', '-i', '-f', conf],
    join(dir, 'slurmctld.out'),
    { outlive },
  )
  undo.push('slurmctld', () => controller.stop())
  for (const node of nodes) {
    writeFileSync(node.conf, slurmConf(setup, node.plugstack))
    node.start(outlive)
    undo.push(node.name, () => node.stop())
  }
  undo.push('steps', () => endSteps(dir))
  undo.push('jobs', () => cancelJobs(conf))
  await waitForNodes(conf, nodes.length, dir)
  return makeCluster(dir, conf, nodes, undo)
}

function makeDirectory(undo: Undo, base: string): string {
  const dir = mkdtempSync(join(base, 'berth-cluster-'))
  undo.push('directory', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
  chmodSync(dir, 0o755)
  for (const part of ['munge', 'state']) mkdirSync(join(dir, part), { mode: 0o755 })
  mkdirSync(join(dir, 'shared'))
  chmodSync(join(dir, 'shared'), 0o1777)
  return dir
}

async function cancelJobs(conf: string): Promise<void> {
  const env = { SLURM_CONF: conf }
  const jobs = async (): Promise<string[]> =>
    (await run(['squeue', '-h', '-o', '%A'], { env })).stdout.split('\n').filter((line) => line !== '')
  const left = await jobs()
  if (left.length === 0) return
  await run(['scancel', '--full', ...left], { env })
  await until('end of all jobs', async () => (await jobs()).length === 0)
}

/** A slurmstepd that cannot tell the controller of its end would try for many minutes, so it ends before that does. */
async function endSteps(dir: string): Promise<void> {
  const gone = (): boolean => stepDaemons(dir).length === 0
  try {
    await until('the end of all slurmstepd', gone, STEPS_END_MS_MAX)
  } catch {
    for (const pid of stepDaemons(dir)) sendSignal(pid, 'SIGKILL')
  }
}

function makeCluster(dir: string, conf: string, nodes: readonly Node[], undo: Undo): Cluster {
  const shared = join(dir, 'shared')
  const complete = (options: RunOptions = {}): RunOptions => ({
    user: USER_A.name,
    cwd: shared,
    ...options,
    env: { SLURM_CONF: conf, ...options.env },
  })
  const command: Cluster['command'] = async (argv, options) => {
    await stillHere()
    return run(argv, complete(options))
  }
  return {
    dir,
    conf,
    nodes,
    shared,
    undo,
    command,
    start: (argv, options) => start(argv, complete(options)),
    srun: (args, options) => command(['srun', ...args], options),
    sbatch: (args, options) => command(['sbatch', ...args], options),
    salloc: (args, options) => command(['salloc', ...args], options),
    scontrol: (args) => run(['scontrol', ...args], { env: { SLURM_CONF: conf } }),
    batch: (script, args, options) => {
      const outcome = runBatch({ shared, conf, command }, script, args, options)
      // As with start(): a test that fails meanwhile must not die of an unhandled rejection, and the file with it.
      outcome.catch(() => {})
      return outcome
    },
    nodeState: async (name) =>
      (
        await must(['sinfo', '-h', '-N', '-n', name, '-o', '%T'], { env: { SLURM_CONF: conf } })
      ).stdout.trim(),
    stop: () => undo.run(),
  }
}

/** Where the plugin's other programs are. */
export function distOf({ nodes }: Cluster): string {
  const line = readFileSync(join(nodes[0]?.dir ?? '', 'plugstack.conf'), 'utf8')
  return dirname(/\S+\/berth\.so/.exec(line)?.[0] ?? '')
}
