// SPDX-License-Identifier: Apache-2.0
/**
 * A cluster by hand: `node --import tsx test/cluster/cli.ts [--nodes=N] [--conf=LINE]… [-- COMMAND…]` runs COMMAND
 * as an ordinary user in a fresh cluster with a registry and images, or waits for Ctrl-C when there is none.
 */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { startCluster } from './cluster.js'
import { publishImages } from './images.js'
import { startRegistry } from './registry.js'
import { USER_A } from './users.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '2' },
    conf: { type: 'string', multiple: true, default: [] },
    arg: { type: 'string', multiple: true, default: [] },
    root: { type: 'boolean', default: false },
  },
})

const cluster = await startCluster({
  nodes: Array.from({ length: Number(values.nodes) }, () => ({})),
  slurmConf: values.conf,
  plugArgs: values.arg,
})
const registry = await startRegistry(cluster.undo)
const images = await publishImages(registry)
const user = values.root
  ? []
  : ['setpriv', `--reuid=${USER_A.name}`, `--regid=${USER_A.name}`, '--init-groups']
const env = {
  PATH: process.env.PATH,
  TERM: process.env.TERM,
  LANG: 'C.UTF-8',
  USER: values.root ? 'root' : USER_A.name,
  HOME: values.root ? '/root' : `/home/${USER_A.name}`,
  SLURM_CONF: cluster.conf,
  CLUSTER: cluster.dir,
  REGISTRY: registry.host,
  IMAGE: images.debian,
  BUSYBOX: images.busybox,
  SCRATCH: images.scratch,
}
if (positionals.length === 0) {
  process.stdout.write(
    `export SLURM_CONF=${cluster.conf} CLUSTER=${cluster.dir} IMAGE=${images.debian} BUSYBOX=${images.busybox} SCRATCH=${images.scratch}\nCtrl-C ends it\n`,
  )
  // The signal handler of undo.ts ends the process; this only keeps it alive until then.
  setInterval(() => {}, 1 << 30)
} else {
  const [file = '', ...rest] = [...user, ...positionals]
  const child = spawn(file, rest, { env, cwd: cluster.shared, stdio: 'inherit' })
  child.on('close', async (code) => {
    await cluster.stop()
    process.exit(code ?? 1)
  })
}
