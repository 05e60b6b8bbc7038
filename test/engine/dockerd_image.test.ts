// SPDX-License-Identifier: Apache-2.0
/** Images that the docker of a node has, by dockerd://, from a real dockerd. */
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { must, type Outcome } from '../cluster/command.js'
import { exits, lines, prints, refuses, says, saysNot } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import { buildImages } from '../cluster/images.js'
import { suite } from '../suite.js'
import { dockerClient, startDockerd } from './dockerd.js'
import { without } from './engines.js'

const test = suite('images of dockerd')
const at = useCluster(test, { nodes: [{}] })
const NAME = 'lab/sim:1'
const noDocker = without('dockerd')

let archive = ''

test.before(async () => {
  const { busybox } = await buildImages()
  archive = join(at.cluster.shared, 'sim.tar')
  await must(['skopeo', 'copy', '-q', `oci:${busybox}`, `docker-archive:${archive}:${NAME}`])
  chmodSync(archive, 0o644)
})

const run = (image: string, env: Record<string, string> = {}, more: string[] = []): Promise<Outcome> =>
  at.cluster.srun(['-n2', `--container-image=${image}`, ...more, 'sh', '-c', 'echo inside'], { env })

async function worksOnce(image: string, env: Record<string, string> = {}): Promise<void> {
  const first = await run(image, env)
  prints(first, ['inside', 'inside'])
  says(first, new RegExp(`^berth: imported ${image} in `, 'm'))
  const again = exits(await run(image, env), 0)
  assert.equal(lines(again), ['inside', 'inside'])
  saysNot(again, /berth:/)
}

test.needs(noDocker, 'dockerd:// is what docker has there, for who may ask it', async () => {
  const [node] = at.cluster.nodes
  if (node === undefined) throw new Error('no node')
  at.cluster.undo.push('dockerd', await startDockerd(node))
  const socket = join(node.dir, 'run/docker.sock')
  await must([...dockerClient(node), 'load', '-q', '-i', archive])
  const image = `dockerd://${NAME}`
  // As for who is not in the group docker.
  chmodSync(socket, 0o600)
  const refused = await run(image)
  says(
    refuses(
      refused,
      /BERTH_EDOCKERD\]: failed to import docker image: dockerd:\/\/lab\/sim:1: docker on this node: .*permission denied/i,
    ),
    /hint: .*docker save/,
  )
  chmodSync(socket, 0o666)
  await worksOnce(image)
  // With a name it is made once, and the daemon need not have it any more.
  prints(await run(image, {}, ['--container-name=sim']), ['inside', 'inside'])
  await must([...dockerClient(node), 'rmi', NAME])
  prints(await run(image, {}, ['--container-name=sim']), ['inside', 'inside'])
  refuses(await run(image), /docker on this node: ended with exit status 1: .*No such image/)
  refuses(await run('dockerd://'), /BERTH_EIMAGEREF.*names no image/)
  refuses(await run('dockerd://-x'), /BERTH_EIMAGEREF.*malformed/)
})

test.run()
