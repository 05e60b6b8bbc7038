// SPDX-License-Identifier: Apache-2.0
/** Where images come from, that each is imported once, and that bad ones are refused with a reason. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { must, type Outcome, until } from './command.js'
import { freePorts } from './daemon.js'
import { countLines, fails, prints, refuses, refusesInTwoLines } from './expect.js'
import { useCluster } from './fixture.js'
import { BOMB_BYTES, HOSTILE_LAYERS } from './hostile.js'
import { buildImages, otherRelease } from './images.js'
import { writeLayout } from './layout.js'
import { startRegistry } from './registry.js'
import { makeTar, type TarEntry } from './tar.js'

const test = suite('images')
const [mirrorPort = 0] = await freePorts(1)
/** Registries that no test can reach, each with a project of its own at one that it can. */
const MIRRORS = { 'docker.io': 'hub', 'nvcr.io': 'nv', 'gcr.io': 'gcr', 'registry.gitlab.com': 'gitlab' }
const mirrors = Object.entries(MIRRORS).map(([host, project]) => `${host}=127.0.0.1:${mirrorPort}/${project}`)
const at = useCluster(test, {
  berthConf: `image_bytes_max = ${BOMB_BYTES}\nregistry_mirrors = ${mirrors.join(', ')}\n`,
})
/** Last entry of every image made here: something to run. */
const busybox = (): TarEntry => ({ name: 'busybox', mode: 0o755, content: readFileSync('/bin/busybox') })
const codename = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']
const srun = (image: string, ...command: string[]): Promise<Outcome> =>
  at.cluster.srun([
    '-N1',
    '-w',
    'n1',
    `--container-image=${image}`,
    ...(command.length > 0 ? command : codename),
  ])

/** A small image of our own making, pushed as NAME:1. */
async function pushLayer(name: string, tar: Buffer): Promise<string> {
  const dir = join(at.cluster.dir, `layout-${name}`)
  const base = makeTar([
    { name: 'etc/', type: '5' },
    { name: 'etc/os-release', content: `ID=${name}\n` },
  ])
  writeLayout(dir, { layers: [base, tar] })
  return at.registry.push(dir, `${name}:1`)
}

test('eight steps that want one cold image import it once', async () => {
  at.registry.forget()
  const seen = await Promise.all(Array.from({ length: 8 }, () => srun(at.images.debian)))
  for (const outcome of seen) prints(outcome, [otherRelease()])
  for (const digest of await at.registry.layers(at.images.debian))
    assert.is(await at.registry.fetches(digest), 1, digest)
})

test('two tasks of a cold image: importing and imported are said once, before both', async () => {
  const image = await pushLayer('said', makeTar([busybox()]))
  const options = ['-N1', '-n2', `--container-image=${image}`]
  const seen = await at.cluster.srun([...options, '/busybox', 'echo', 'up'])
  const words = seen.output.split('\n').filter((line) => /^(berth|up)/.test(line))
  assert.equal(
    words.map((line) => /^(berth: \w+|up)/.exec(line)?.[0]),
    ['berth: importing', 'berth: imported', 'up', 'up'],
  )
})

test('two nodes with a cold image: importing and imported are said by the first one', async () => {
  const image = await pushLayer('said_twice', makeTar([busybox()]))
  const seen = await at.cluster.srun(['-N2', '-n2', `--container-image=${image}`, '/busybox', 'echo', 'up'])
  const words = seen.output.split('\n').filter((line) => /^(berth|up)/.test(line))
  assert.equal(words.map((line) => /^(berth: \w+|up)/.exec(line)?.[0]).sort(), [
    'berth: imported',
    'berth: importing',
    'up',
    'up',
  ])
})

test('two nodes that fail: the first one tells all, the other one what and where, in one line', async () => {
  const mount = '--container-mounts=/nonexistent-berth:/x'
  const seen = fails(
    await at.cluster.srun([
      '-N2',
      '-n4',
      '--overcommit',
      `--container-image=${at.images.debian}`,
      mount,
      'true',
    ]),
  )
  const errors = seen.output.split('\n').filter((line) => line.includes('error[BERTH_'))
  assert.is(errors.length, 2, seen.output)
  assert.is(errors.filter((line) => /nonexistent-berth.* \(on \S+\)$/.test(line)).length, 1, seen.output)
  assert.is(seen.output.split('\n').filter((line) => line.startsWith('hint: ')).length, 1, seen.output)
})

test('a warm start asks the registry for no blob', async () => {
  at.registry.forget()
  prints(await srun(at.images.debian), [otherRelease()])
  assert.equal(
    at.registry.requests().filter((line) => line.includes('/blobs/')),
    [],
  )
})

test('by digest, by scheme, and by enroot’s spelling', async () => {
  const digest = await at.registry.digest(at.images.debian)
  const [host = '', path = ''] = at.images.debian.split(/\/(.*)/s)
  const name = path.split(':')[0]
  for (const image of [
    `${host}/${name}@${digest}`,
    `${host}/${path}@${digest}`,
    `docker://${at.images.debian}`,
    `${host}#${path}`,
  ]) {
    prints(await srun(image), [otherRelease()])
  }
})

/** As scripts write them → repository and tag at the mirror. */
const NAMES: readonly (readonly [string, string])[] = [
  ['ubuntu:24.04', 'hub/library/ubuntu:24.04'],
  ['docker.io/ubuntu:24.04', 'hub/library/ubuntu:24.04'],
  ['docker.io#ubuntu:24.04', 'hub/library/ubuntu:24.04'],
  ['centos:7', 'hub/library/centos:7'],
  ['nvidia/cuda:12.4.0-base', 'hub/nvidia/cuda:12.4.0-base'],
  ['docker://nvidia/cuda:12.4.0-base', 'hub/nvidia/cuda:12.4.0-base'],
  ['nvcr.io#nvidia/pytorch:24.01-py3', 'nv/nvidia/pytorch:24.01-py3'],
  ['nvcr.io/nvidia/tensorflow:24.01-tf2-py3', 'nv/nvidia/tensorflow:24.01-tf2-py3'],
  ['gcr.io#a/b.2-9', 'gcr/a/b.2-9:latest'],
  ['registry.gitlab.com#a/b/c/d:1.0.0-beta4', 'gitlab/a/b/c/d:1.0.0-beta4'],
]

test('names of Docker Hub, NVIDIA, Google and GitLab mean what they mean to docker and enroot', async () => {
  const mirror = await startRegistry(at.cluster.undo, { port: mirrorPort })
  const { busybox } = await buildImages()
  const places = [...new Set(NAMES.map(([, place]) => place))]
  await Promise.all(places.map((place) => mirror.push(busybox, place)))
  mirror.forget()
  const show = ['sh', '-c', '. /etc/os-release; echo $ID']
  for (const one of await Promise.all(NAMES.map(([image]) => srun(image, ...show)))) prints(one, ['busybox'])
  const asked = () => {
    const names = mirror.requests().flatMap((line) => {
      const [, repository, tag] = /\/v2\/(.*)\/manifests\/([^:]*)$/.exec(line) ?? []
      return tag === undefined ? [] : [`${repository}:${tag}`]
    })
    return [...new Set(names)].sort()
  }
  await until('all in its log', () => asked().length >= places.length)
  assert.equal(asked(), places.sort())
  const digest = await mirror.digest(`${mirror.host}/hub/nvidia/cuda:12.4.0-base`)
  await mirror.push(busybox, 'hub/rapidsai/devcontainers:1')
  prints(await srun(`rapidsai/devcontainers@${digest}`, ...show), ['busybox'])
})

test('a hard link into a lower layer, and set-id bits, are in the image', async () => {
  const image = await pushLayer(
    'links',
    makeTar([
      { name: 'linked', type: '1', link: 'etc/os-release' },
      { name: 'setid', mode: 0o6755, content: 'x\n' },
      busybox(),
    ]),
  )
  const look = 'cat /linked; /busybox stat -c "%h %i" /linked /etc/os-release; /busybox stat -c %a /setid'
  const [id, link, original, mode] = (await srun(image, '/busybox', 'sh', '-c', look)).stdout.split('\n')
  assert.equal([id, link, mode], ['ID=links', original, '6755'])
  assert.match(link ?? '', /^2 /)
})

test('zstd layers and docker manifests', async () => {
  const { debian, busybox } = await buildImages()
  const zstd = await at.registry.push(debian, 'debian:zstd', ['--dest-compress-format=zstd'])
  prints(await srun(zstd), [otherRelease()])
  const docker = await at.registry.push(busybox, 'busybox:docker', ['--format=v2s2'])
  prints(await srun(docker, 'sh', '-c', '. /etc/os-release; echo $ID'), ['busybox'])
})

test('a moved tag is imported again', async () => {
  const first = await pushLayer('moving', makeTar([{ name: 'version', content: '1\n' }, busybox()]))
  prints(await srun(first, '/busybox', 'cat', '/version'), ['1'])
  await pushLayer('moving', makeTar([{ name: 'version', content: '2\n' }, busybox()]))
  // tag_ttl: a tag counts as resolved for two seconds.
  await new Promise((resolve) => setTimeout(resolve, 2500))
  prints(await srun(first, '/busybox', 'cat', '/version'), ['2'])
})

test('local layouts and archives', async () => {
  const { busybox: layout } = await buildImages()
  const dir = join(at.cluster.shared, 'local')
  mkdirSync(dir, { mode: 0o755 })
  await must(['cp', '-r', layout, join(dir, 'layout')])
  await must(['skopeo', 'copy', '-q', `oci:${layout}`, `oci-archive:${dir}/image.oci.tar:latest`])
  await must(['skopeo', 'copy', '-q', `oci:${layout}`, `docker-archive:${dir}/image.docker.tar:busybox:1`])
  await must(['chmod', '-R', 'a+rX', dir])
  const images = [
    'oci:local/layout',
    `oci:${dir}/layout`,
    'oci-archive:local/image.oci.tar',
    'docker-archive:local/image.docker.tar',
  ]
  for (const image of images)
    prints(await srun(image, 'sh', '-c', '. /etc/os-release; echo $ID'), ['busybox'])
})

test('a squashfs file of root’s and one of the user’s', async () => {
  const tree = join(at.cluster.dir, 'tree')
  mkdirSync(join(tree, 'bin'), { recursive: true })
  await must(['cp', '/bin/busybox', join(tree, 'bin/busybox')])
  await must(['mksquashfs', tree, join(at.cluster.dir, 'root.sqsh'), '-quiet', '-no-progress', '-all-root'])
  await must(['chmod', '644', join(at.cluster.dir, 'root.sqsh')])
  await must(['cp', join(at.cluster.dir, 'root.sqsh'), join(at.cluster.shared, 'mine.sqsh')])
  await must(['chown', 'berth-a', join(at.cluster.shared, 'mine.sqsh')])
  for (const image of [join(at.cluster.dir, 'root.sqsh'), './mine.sqsh']) {
    prints(await srun(image, '/bin/busybox', 'echo', 'squashed'), ['squashed'])
  }
  refuses(await srun('./missing.sqsh', '/bin/busybox', 'true'), /missing\.sqsh/)
})

test('a squashfs file for four tasks, for two steps at once, and from another directory', async () => {
  const folder = join(at.cluster.shared, 'elsewhere')
  mkdirSync(folder, { mode: 0o755 })
  const file = join(folder, 'many.sqsh')
  await must(['mksquashfs', '/bin/busybox', file, '-quiet', '-no-progress', '-all-root'])
  const twice = await Promise.all([1, 2].map((id) => srun(file, '/busybox', 'echo', `step ${id}`)))
  for (const [index, one] of twice.entries()) prints(one, [`step ${index + 1}`])
  const tasks = ['-N1', '-n4', `--chdir=${folder}`, '--container-image=./many.sqsh']
  prints(await at.cluster.srun([...tasks, '/busybox', 'sh', '-c', 'echo $SLURM_PROCID']), [
    '0',
    '1',
    '2',
    '3',
  ])
})

test('a tag that is not there: told once for two tasks, with the name', async () => {
  const image = `${at.registry.host}/thisimagedoesntexist:1`
  const seen = refusesInTwoLines(
    await at.cluster.srun(['-N1', '-n2', `--container-image=${image}`, 'true']),
    new RegExp(`failed to import docker image: ${at.registry.host}/thisimagedoesntexist`),
  )
  assert.is(countLines(seen, /failed to import docker image/), 1, seen.output)
})

test('a registry that nobody runs', async () => {
  refuses(await srun('registry.invalid/lab/sim:1'), /registry\.invalid/)
  refuses(await srun('127.0.0.1:9/lab/sim:1'), /127\.0\.0\.1:9/)
})

test('odd image names are refused', async () => {
  const base64 = Buffer.from('é\n'.repeat(700)).toString('base64')
  // As the base64 command writes it.
  const lines = base64.match(/.{1,76}/g)?.join('\n') ?? ''
  for (const image of ['', base64, lines, './', '/dev/urandom', 'UPPER/case', 'a b'])
    refuses(await srun(image, 'true'), /hint/)
})

test('a blob that is not what its digest says', async () => {
  const image = await pushLayer(
    'flipped',
    makeTar([{ name: 'data', content: Buffer.alloc(400_000, 'x') }, busybox()]),
  )
  const layers = await at.registry.layers(image)
  at.registry.corrupt(layers[1] ?? '', 'flip')
  refuses(await srun(image, '/busybox', 'true'), /digest|corrupt|damaged|sha256/i)
})

test('a layer that ends too early', async () => {
  const image = await pushLayer(
    'cut',
    makeTar([{ name: 'data', content: Buffer.alloc(400_000, 'y') }, busybox()]),
  )
  const layers = await at.registry.layers(image)
  at.registry.corrupt(layers[1] ?? '', 'truncate')
  refuses(await srun(image, '/busybox', 'true'), /bytes/)
})

for (const { name, entries, expectation } of HOSTILE_LAYERS) {
  test(`hostile layer: ${name}`, async () => {
    const image = await pushLayer(`hostile-${name.replace(/\W+/g, '-')}`, makeTar([...entries, busybox()]))
    const seen = await srun(image, '/busybox', 'true')
    if (expectation === 'refused') refuses(seen, /layer|tar|link/i)
    assert.not.ok(existsSync('/tmp/berth-escaped'), 'wrote outside')
    assert.not.ok(existsSync('/berth-escaped'), 'wrote outside')
  })
}

test('a bomb stops at the limit', async () => {
  const zeros = Buffer.alloc(BOMB_BYTES + (1 << 20))
  const image = await pushLayer('bomb', makeTar([{ name: 'zeros', content: zeros }, busybox()]))
  refuses(await srun(image, '/busybox', 'true'), /limit|larger|exceed|at most|too (big|large)/i)
})

test('failed imports leave no file, and no node is drained', async () => {
  for (const { name } of at.cluster.nodes)
    await until(`${name} idle`, async () => (await at.cluster.nodeState(name)) === 'idle')
  const store = at.cluster.nodes[0]?.storeDir ?? ''
  const good = /^(sha256-[0-9a-f]{64}-[fr]\d+(-root)?|copy-[\d-]+(-root)?)\.(sqsh|json)$/
  const others = () => readdirSync(join(store, 'images')).filter((name) => !good.test(name))
  await until('no other file', () => others().length === 0)
})

test.run()
