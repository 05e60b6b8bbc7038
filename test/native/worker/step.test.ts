// SPDX-License-Identifier: Apache-2.0
import { equal, match, notEqual } from 'node:assert/strict'
import { suite } from '../../suite.js'
import { missingForNode, TestNode } from './node.js'
import { until } from './until.js'

const test = suite('steps of a worker')
const missing = missingForNode()
let node: TestNode

test.before(() => {
  if (missing !== undefined) return
  node = new TestNode()
  node.startKeeper()
})
test.after(async () => {
  if (missing === undefined) equal((await node.stop()).join('\n'), '')
})

const SHOW_NAMESPACES = 'readlink /proc/self/ns/user; readlink /proc/self/ns/mnt'

test.needs(missing, 'a task runs inside the image and its exit code comes back', async () => {
  const step = node.step({ command: ['sh', '-c', 'cat /etc/inside; exit 7'] })
  equal((await step.run())[0], 7)
  equal(step.stdout, 'berth-test\n')
  equal(step.stderr, '')
  step.end()
})

test.needs(missing, 'a signal that ends the program ends the task', async () => {
  const step = node.step({ command: ['sh', '-c', 'kill -TERM $$'] })
  equal((await step.run())[0], 128 + 15)
  step.end()
})

test.needs(missing, 'eight tasks share one user and one mount namespace, not the host', async () => {
  const step = node.step({ command: ['sh', '-c', SHOW_NAMESPACES] })
  equal((await step.run(8)).join(), '0,0,0,0,0,0,0,0')
  const lines = new Set(step.stdout.trim().split('\n'))
  equal(lines.size, 2)
  step.end()
})

test.needs(missing, 'a task that comes late joins the same namespaces', async () => {
  const step = node.step({ command: ['sh', '-c', SHOW_NAMESPACES] })
  await step.run()
  const first = step.stdout
  step.start(5)
  await step.exit(5)
  equal(step.stdout, first + first)
  step.end()
})

test.needs(missing, 'two steps have namespaces of their own', async () => {
  const [one, other] = [1, 2].map(() => node.step({ command: ['sh', '-c', SHOW_NAMESPACES] }))
  await Promise.all([one?.run(), other?.run()])
  notEqual(one?.stdout, other?.stdout)
  one?.end()
  other?.end()
})

test.needs(
  missing,
  'a failure is told once in a step, with code and next step; every task exits 125',
  async () => {
    const step = node.step({ options: ['container-image=/nonexistent/x.sqsh'] })
    equal((await step.run(4)).join(), '125,125,125,125')
    equal(step.stderr.match(/berth: error/g)?.length, 1)
    match(step.stderr, /error\[BERTH_EIMAGEFILE\].*\/nonexistent\/x\.sqsh.*\nhint: /)
    equal(step.stdout, '')
    step.end()
  },
)

test.needs(missing, 'an image by a path that holds none says what the path could have been', async () => {
  for (const [image, words] of [
    [
      'dir:/nonexistent',
      /BERTH_EIMAGEFILE.*\/nonexistent: no such file or directory\nhint: dir: wants the directory/,
    ],
    ['/etc', /image file \/etc: is a directory\nhint: dir:\/etc is an unpacked root file system/],
    ['/etc/passwd', /is no squashfs file, and no SIF\nhint: .*docker-archive:FILE/],
  ] as const) {
    const step = node.step({ options: [`container-image=${image}`] })
    equal((await step.run())[0], 125)
    match(step.stderr, words)
    step.end()
  }
})

test.needs(missing, 'a mount whose source is missing names the source', async () => {
  const options = [`container-image=${node.image}`, 'container-mounts=/nonexistent/data:/data']
  const step = node.step({ options })
  equal((await step.run())[0], 125)
  match(step.stderr, /BERTH_EMOUNTSOURCE.*source path does not exist: \/nonexistent\/data/)
  step.end()
})

test.needs(missing, 'a bad option is told by the first launcher', async () => {
  const step = node.step({ options: [`container-image=${node.image}`, 'container-mounts=/a:b:c:d:e'] })
  equal((await step.run(2)).join(), '125,125')
  match(
    step.stderr,
    /^berth: error\[BERTH_EOPTION\]: --container-mounts.*\nhint: for example --container-mounts=\/data/,
  )
  step.end()
})

test.needs(missing, 'a program that is not there exits 127, one that cannot run 126', async () => {
  const absent = node.step({ command: ['no-such-program'] })
  equal((await absent.run())[0], 127)
  absent.end()
  const plain = node.step({ command: ['/etc'] })
  equal((await plain.run())[0], 126)
  plain.end()
})

test.needs(missing, "an image 'none' leaves the step on the host", async () => {
  const step = node.step({ options: ['container-image=none'], command: ['cat', '/etc/inside'] })
  equal((await step.run())[0], 1)
  match(step.stderr, /No such file/)
  step.end()
})

test.needs(missing, 'explain: task 0 of node 0 prints the plan, the others exit 0 in silence', async () => {
  const options = [`container-image=${node.image}`, 'container-explain=1']
  const first = node.step({ options, command: ['sh', '-c', 'echo ran'] })
  equal((await first.run(2)).join(), '0,0')
  equal(JSON.parse(first.stdout).berth.engine, 'native')
  first.end()
  const second = node.step({ options, node: 1, command: ['sh', '-c', 'echo ran'] })
  equal((await second.run())[0], 0)
  equal(second.stdout, '')
  second.end()
})

test.needs(missing, 'nothing of an ended step is kept', async () => {
  await until('no step', () => node.cli('ps', '--json').stdout.trim() === '[]')
  equal(node.leases().length, 0)
})

test.needs(missing, 'a step whose slurmstepd is killed is released', async () => {
  const step = node.step({ command: ['sleep', '1000'] })
  step.start(0)
  await until('the task', () => step.pids.size === 1)
  await until('the lease', () => node.leases().length === 1)
  step.kill()
  await until('its release', () => node.leases().length === 0)
})

test.run()
