// SPDX-License-Identifier: Apache-2.0
/** One compute node: its files, its plugstack line, and slurmd in a mount namespace of its own. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { must, run, until } from './command.js'
import { plugstackConf, SPOOL_DIR } from './config.js'
import { type Daemon, pidIn, startDaemon, stopByPidFile } from './daemon.js'
import { USER_A } from './users.js'

const CHECKOUT = resolve(import.meta.dirname, '../..')
export interface NodeOptions {
  /** false: this node's plugstack.conf is empty, as on a node where berth was forgotten. */
  plugin?: boolean
  /** Further plugstack arguments of this node only. */
  plugArgs?: string[]
  /** The plugin's runtime directory is /run/berth, of which each node's mount namespace has its own. */
  privateRun?: boolean
  /**
   * Its own /tmp and host name, as of a machine: mpi/pmix makes a directory of one name in /tmp on each node, and PMIx
   * tells a client of its neighbours by the host's name, which must be what Slurm calls the node.
   */
  ownMachine?: boolean
  /**
   * slurmd and all it starts run on one CPU: job_container/tmpfs pins the mount namespace of each job, which Linux 6.18
   * refuses (EINVAL, mnt_ns_loop) where it was made on a CPU whose batch of namespace numbers is behind slurmd's.
   */
  oneCpu?: boolean
  /** Shell commands as root in the node's mount namespace before slurmd starts: what is on this node alone. */
  namespace?: string
}

/** What all nodes of a cluster have in common. */
interface SharedOptions {
  prolog?: boolean
  plugArgs?: string[]
  berthConf?: string
  confFiles?: (dir: string) => Record<string, string>
}

export interface Node {
  readonly name: string
  /** This node's files: logs, private run and spool directories. */
  readonly dir: string
  readonly runtimeDir: string
  readonly storeDir: string
  /** pid of slurmd. */
  pid(): number
  /** pid of the worker; undefined when none runs. */
  workerPid(): number | undefined
  restart(): Promise<void>
}

interface PreparedNode extends Node {
  conf: string
  plugstack: string
  line: string
  start(outlive: boolean): void
  stop(): Promise<void>
}

export function prepareNode(
  dir: string,
  index: number,
  node: NodeOptions,
  options: SharedOptions,
  plugin: string,
): PreparedNode {
  const name = `n${index + 1}`
  const at = join(dir, name)
  const runtimeDir = join(at, node.privateRun === true ? 'run/berth' : 'berth')
  const storeDir = join(at, 'store')
  for (const part of ['', 'run', 'spool', 'store', 'tmp']) mkdirSync(join(at, part), { mode: 0o755 })
  const args = [...(options.plugArgs ?? []), ...(node.plugArgs ?? [])]
  const berthConf = join(dir, 'berth.conf')
  writeFileSync(berthConf, options.berthConf ?? '')
  args.push(`config=${berthConf}`)
  const seenAs = node.privateRun === true ? '/run/berth' : runtimeDir
  const line =
    node.plugin === false || plugin === ''
      ? ''
      : plugstackConf({ plugin, runtimeDir: seenAs, storeDir, args, prolog: options.prolog ?? false })
  for (const [file, text] of Object.entries(options.confFiles?.(at) ?? {}))
    writeFileSync(join(at, file), text)
  const plugstack = join(at, 'plugstack.conf')
  writeFileSync(plugstack, line)
  const conf = join(at, 'slurm.conf')
  let daemon: Daemon | undefined
  let lives = false
  const start = (outlive: boolean): void => {
    lives = outlive
    const command = slurmdCommand(at, name, conf, { ...node, dir })
    daemon = startDaemon(name, command, join(at, 'slurmd.out'), { outlive })
  }
  return {
    name,
    dir: at,
    runtimeDir,
    storeDir,
    conf,
    plugstack,
    line,
    start,
    pid: () => daemon?.pid ?? 0,
    workerPid: () => pidIn(join(runtimeDir, 'worker.pid')),
    restart: async () => {
      await daemon?.stop()
      start(lives)
      await waitForNodes(join(dir, 'slurm.conf'), 1, dir, name)
    },
    stop: async () => {
      await daemon?.stop()
      await stopByPidFile(join(runtimeDir, 'keeper.pid'))
    },
  }
}

/**
 * slurmd in a mount namespace where /run and the spool directory are this node's own.
 * @param node `dir`: the cluster's, which is seen in /tmp even where that is the node's own
 */
function slurmdCommand(
  at: string,
  name: string,
  conf: string,
  { ownMachine = false, oneCpu = false, namespace = ':', dir }: NodeOptions & { dir: string },
): string[] {
  mkdirSync(SPOOL_DIR, { recursive: true, mode: 0o755 })
  const tmp = !ownMachine
    ? ''
    : `mount -t tmpfs -o mode=1777 tmpfs '${at}/tmp' && mkdir '${at}/tmp/${basename(dir)}' && ` +
      `mount --rbind '${dir}' '${at}/tmp/${basename(dir)}' && mount --rbind '${at}/tmp' /tmp && ` +
      `hostname ${name} && `
  const script =
    `mount --bind '${at}/run' /run && mount --bind '${at}/spool' ${SPOOL_DIR} && ${tmp}` +
    `(${namespace}) && exec slurmd -D -N ${name} -f '${conf}'`
  const own = ['--mount', ...(ownMachine ? ['--uts'] : [])]
  const pin = oneCpu ? ['taskset', '-c', firstCpu()] : []
  return [...pin, 'unshare', ...own, '--propagation', 'slave', '--', 'sh', '-c', script]
}

function firstCpu(): string {
  return /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
}

/** What is needed of a checkout to run: a clone that only root can enter is copied to where users can. */
const RUNS_FROM = [
  'dist',
  'package.json',
  ...['undici', 'ini', 'smol-toml', 'yaml'].map((name) => `node_modules/${name}`),
]

/** Path of berth.so; empty when it was not built. */
export async function findPlugin(dir: string): Promise<string> {
  const plugin = join(CHECKOUT, 'dist/berth.so')
  if (!existsSync(plugin)) return ''
  if ((await run(['test', '-r', plugin], { user: USER_A.name })).code === 0) return plugin
  const copy = join(dir, 'checkout')
  mkdirSync(join(copy, 'node_modules'), { recursive: true })
  for (const part of RUNS_FROM) await must(['cp', '-a', join(CHECKOUT, part), join(copy, part)])
  return join(copy, 'dist/berth.so')
}

/** Four daemons start within two seconds on an idle machine. */
const NODES_TIME_MAX_MS = 90_000

/** Waits until `count` nodes (or the `only` one) take jobs. @throws Error with the daemons' logs */
export async function waitForNodes(conf: string, count: number, dir: string, only?: string): Promise<void> {
  const filter = only === undefined ? [] : ['-n', only]
  const idle = async (): Promise<boolean> => {
    const seen = await run(['sinfo', '-h', '-N', '-o', '%T', ...filter], { env: { SLURM_CONF: conf } })
    const states = seen.stdout.split('\n').filter((line) => /^(idle|mixed|allocated)$/.test(line))
    return states.length >= count
  }
  try {
    await until('all nodes idle', idle, NODES_TIME_MAX_MS, 100)
  } catch (error) {
    const logs = await run([
      'sh',
      '-c',
      `tail -n 20 ${dir}/*.log ${dir}/*.out ${dir}/*/slurmd.log ${dir}/*/*.out`,
    ])
    throw new Error(`cluster did not come up: ${String(error)}\n${logs.output}`)
  }
}
