// SPDX-License-Identifier: Apache-2.0
/** slurm.conf and plugstack.conf of a throwaway cluster; see slurm.conf(5) of 22.05 for every key. */
import { hostname } from 'node:os'

interface NodeSetup {
  name: string
  port: number
  /** plugstack.conf of this node's slurmd and steps. */
  plugstack: string
}

export interface ClusterSetup {
  dir: string
  controllerPort: number
  nodes: readonly NodeSetup[]
  /** plugstack.conf of srun, sbatch and salloc. */
  plugstack: string
  /** FirstJobId. */
  firstJob: number
  proctrack: 'linuxproc' | 'pgid' | 'cgroup'
  taskPlugin: 'none' | 'cgroup'
  extra: readonly string[]
  /** Added to each node's line, e.g. Gres=gpu:2. */
  nodeConf?: string
}

/** slurmd's spool: private to each node, since its mount namespace has its own directory here. */
export const SPOOL_DIR = '/var/spool/berth-slurmd'
/** Eight CPUs a node whatever the machine has; config_overrides makes slurmd believe it. */
const CPUS_PER_NODE = 8
const MEMORY_PER_NODE_MB = 4000
/** Of how many a cluster of the suite may have, and of how many ranges below Slurm's largest number (MaxJobId). */
const JOBS_MAX = 1000
const JOB_RANGES = 60_000

/** Slurm names cgroups and directories of /tmp by user and job: those of another cluster on this machine are others. */
export function chooseFirstJob(): number {
  return JOBS_MAX * (1 + Math.floor(Math.random() * JOB_RANGES))
}

export function slurmConf(setup: ClusterSetup, plugstack: string): string {
  const { dir } = setup
  const names = setup.nodes.map((node) => node.name).join(',')
  return [
    'ClusterName=berth',
    `SlurmctldHost=${hostname().split('.')[0]}(127.0.0.1)`,
    `SlurmctldPort=${setup.controllerPort}`,
    'SlurmUser=root',
    'SlurmdUser=root',
    'AuthType=auth/munge',
    'CredType=cred/munge',
    `AuthInfo=socket=${dir}/munge/socket`,
    `StateSaveLocation=${dir}/state`,
    `SlurmctldPidFile=${dir}/slurmctld.pid`,
    `SlurmctldLogFile=${dir}/slurmctld.log`,
    `SlurmdPidFile=${dir}/%n/slurmd.pid`,
    `SlurmdSpoolDir=${SPOOL_DIR}`,
    `SlurmdLogFile=${dir}/%n/slurmd.log`,
    'SlurmdParameters=config_overrides',
    `ProctrackType=proctrack/${setup.proctrack}`,
    `TaskPlugin=task/${setup.taskPlugin}`,
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_Core',
    'JobAcctGatherType=jobacct_gather/none',
    'MpiDefault=none',
    'ReturnToService=2',
    `FirstJobId=${setup.firstJob}`,
    // The nodes' files differ from the controller's in PlugStackConfig, on purpose.
    'DebugFlags=NO_CONF_HASH',
    // Short, so that a test that ends a job does not wait half a minute.
    'KillWait=2',
    'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0',
    'SlurmdTimeout=300',
    // The default of 10 s is a fault of the network; here it is a machine that does much else.
    'MessageTimeout=60',
    `PlugStackConfig=${plugstack}`,
    ...setup.extra,
    ...setup.nodes.map(
      (node) =>
        `NodeName=${node.name} NodeHostname=${hostname().split('.')[0]} NodeAddr=127.0.0.1 Port=${node.port} ` +
        `CPUs=${CPUS_PER_NODE} RealMemory=${MEMORY_PER_NODE_MB} ${setup.nodeConf ?? ''} State=UNKNOWN`,
    ),
    `PartitionName=all Nodes=${names} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES:8`,
    '',
  ].join('\n')
}

interface PlugOptions {
  plugin: string
  runtimeDir: string
  storeDir: string
  args: readonly string[]
  /** Adds the second, optional line: berth-prolog.so. */
  prolog: boolean
}

/** The one line that a site writes; `required`, because `optional` would let a task run bare after a failure. */
export function plugstackConf(options: PlugOptions): string {
  const words = [`runtime_dir=${options.runtimeDir}`, `store=${options.storeDir}`, ...options.args]
  const line = `required ${options.plugin} ${words.join(' ')}\n`
  return options.prolog ? line + line.replace('berth.so', 'berth-prolog.so') : line
}
