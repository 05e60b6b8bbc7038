// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { DockerArchiveReader, openArchive } from '../../src/image/archive.js'
import { readBounded } from '../../src/image/body.js'
import { LayoutReader, type OpenFile } from '../../src/image/layout.js'
import { hostPlatform } from '../../src/image/platform.js'
import type { ImageReader } from '../../src/image/reader.js'
import { readConfig } from '../../src/image/squashfile.js'
import { indexTar } from '../../src/image/tarindex.js'
import { BerthError } from '../../src/report/errors.js'
import { makeTar } from '../cluster/tar.js'
import { failure } from '../failure.js'
import { sha256 } from '../registry.js'
import { suite } from '../suite.js'

const test = suite('archives and layouts')
const HOST = hostPlatform('x64', '')
const LAYERS = ['lower', 'upper'].map((name) => makeTar([{ name, content: name.repeat(1000) }]))

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-archive-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function put(folder: string, name: string, content: string | Buffer): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true })
  writeFileSync(join(folder, name), content)
}

function config(): Buffer {
  return Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: LAYERS.map(sha256) },
    }),
  )
}

/** An OCI layout whose index names the one image by each of `tags`; undefined: no name. */
function writeLayout(folder: string, tags: (string | undefined)[]): string {
  const blob = (bytes: Buffer, mediaType: string) => {
    put(folder, `blobs/${sha256(bytes).replace(':', '/')}`, bytes)
    return { mediaType, digest: sha256(bytes), size: bytes.length }
  }
  const manifest = {
    schemaVersion: 2,
    config: blob(config(), 'application/vnd.oci.image.config.v1+json'),
    layers: LAYERS.map((layer) => blob(gzipSync(layer), 'application/vnd.oci.image.layer.v1.tar+gzip')),
  }
  const described = blob(Buffer.from(JSON.stringify(manifest)), 'application/vnd.oci.image.manifest.v1+json')
  const manifests = tags.map((tag) => ({
    ...described,
    ...(tag === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } }),
  }))
  put(folder, 'index.json', JSON.stringify({ schemaVersion: 2, manifests }))
  put(folder, 'oci-layout', '{"imageLayoutVersion":"1.0.0"}')
  return described.digest
}

function folderFiles(folder: string): OpenFile {
  return async (name) => {
    const fd = openSync(join(folder, name), 'r')
    return { fd, start: 0, size: statSync(join(folder, name)).size, own: true }
  }
}

async function withArchive(file: string, body: (files: OpenFile) => Promise<void>): Promise<void> {
  const fd = openSync(file, 'r')
  try {
    await body(await openArchive({ fd, start: 0, size: statSync(file).size }))
  } finally {
    closeSync(fd)
  }
}

async function contents(reader: ImageReader): Promise<{ digest: string; layers: Buffer[] }> {
  const image = await reader.open(await reader.resolve())
  const layers: Buffer[] = []
  for (const layer of image.layers) layers.push(await readBounded(reader.layer(layer), layer.size))
  return { digest: image.digest, layers }
}

test('a layout is read by tag, or without one where there is one image', () =>
  withFolder(async (folder) => {
    const digest = writeLayout(folder, ['1.0'])
    for (const tag of ['1.0', undefined]) {
      const found = await contents(new LayoutReader(folderFiles(folder), tag, HOST))
      assert.is(found.digest, digest)
      assert.ok(found.layers[1]?.equals(gzipSync(LAYERS[1] ?? '')))
    }
    const missing = await failure(new LayoutReader(folderFiles(folder), '2.0', HOST).resolve())
    assert.is(missing.code, 'BERTH_EIMAGENOTFOUND')
    writeLayout(folder, ['1.0', '2.0'])
    assert.match(
      (await failure(new LayoutReader(folderFiles(folder), undefined, HOST).resolve())).message,
      '1.0, 2.0',
    )
  }))

test('a layout whose bytes are not what its names say is found out', () =>
  withFolder(async (folder) => {
    const digest = writeLayout(folder, [undefined])
    put(folder, `blobs/${digest.replace(':', '/')}`, '{}')
    const reader = new LayoutReader(folderFiles(folder), undefined, HOST)
    assert.is((await failure(reader.open(await reader.resolve()))).code, 'BERTH_EDIGEST')
  }))

test('an oci-archive is read in place, whatever tar wrote it', () =>
  withFolder(async (folder) => {
    const digest = writeLayout(join(folder, 'layout'), ['1.0'])
    for (const format of ['gnu', 'pax', 'ustar']) {
      const file = join(folder, `${format}.tar`)
      execFileSync('tar', [`--format=${format}`, '-C', join(folder, 'layout'), '-cf', file, '.'])
      await withArchive(file, async (files) => {
        const found = await contents(new LayoutReader(files, '1.0', HOST))
        assert.is(found.digest, digest, format)
        assert.ok(found.layers[0]?.equals(gzipSync(LAYERS[0] ?? '')), format)
      })
    }
  }))

test('a docker-archive is read in place, old ones with linked layers too', () =>
  withFolder(async (folder) => {
    const layout = join(folder, 'saved')
    put(layout, 'aa/layer.tar', LAYERS[0] ?? '')
    put(layout, 'bb/layer.tar', LAYERS[1] ?? '')
    mkdirSync(join(layout, 'cc'))
    symlinkSync('../bb/layer.tar', join(layout, 'cc/layer.tar'))
    put(layout, 'conf.json', config())
    const image = { Config: 'conf.json', RepoTags: ['me/x:1.0'], Layers: ['aa/layer.tar', 'cc/layer.tar'] }
    put(layout, 'manifest.json', JSON.stringify([image]))
    const file = join(folder, 'saved.tar')
    execFileSync('tar', ['-C', layout, '-cf', file, 'aa', 'bb', 'cc', 'conf.json', 'manifest.json'])
    await withArchive(file, async (files) => {
      for (const tag of [undefined, '1.0', 'me/x:1.0', 'x:1.0']) {
        const found = await contents(new DockerArchiveReader(files, tag, HOST))
        assert.is(found.digest, sha256(config()))
        assert.ok(found.layers[1]?.equals(LAYERS[1] ?? Buffer.alloc(0)))
      }
      const missing = await failure(new DockerArchiveReader(files, '2', HOST).resolve())
      assert.is(missing.code, 'BERTH_EIMAGENOTFOUND')
    })
  }))

test('a docker-archive whose config is a manifest or an index is refused: its digest is of another image', () =>
  withFolder(async (folder) => {
    for (const list of ['layers', 'manifests']) {
      const claim = Buffer.from(JSON.stringify({ ...JSON.parse(config().toString()), [list]: [] }))
      const names = LAYERS.map((_, index) => `${index}.tar`)
      const archive = makeTar([
        { name: 'manifest.json', content: JSON.stringify([{ Config: 'conf.json', Layers: names }]) },
        { name: 'conf.json', content: claim },
        ...LAYERS.map((content, index) => ({ name: `${index}.tar`, content })),
      ])
      put(folder, 'claim.tar', archive)
      await withArchive(join(folder, 'claim.tar'), async (files) => {
        const reader = new DockerArchiveReader(files, undefined, HOST)
        for (const refused of [() => reader.resolve(), () => reader.open(sha256(claim))]) {
          const error = await failure(refused())
          assert.is(error.code, 'BERTH_EMANIFEST')
          assert.match(error.message, 'its conf.json is a manifest and no config')
        }
      })
    }
  }))

test('long names and pax sizes are understood; a member that is missing or loops is told', () =>
  withFolder(async (folder) => {
    const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`
    put(join(folder, 'in'), long, 'x')
    symlinkSync('loop', join(folder, 'in/loop'))
    for (const format of ['gnu', 'pax']) {
      const file = join(folder, `${format}.tar`)
      execFileSync('tar', [`--format=${format}`, '-C', join(folder, 'in'), '-cf', file, '.'])
      await withArchive(file, async (files) => {
        assert.is((await files(long)).size, 1)
        assert.match((await failure(files('none'))).message, 'has no none')
        assert.match((await failure(files('loop'))).message, 'in a circle')
      })
    }
  }))

test('what is no plain tar is refused with the reason', () =>
  withFolder(async (folder) => {
    const tar = makeTar([{ name: 'a', content: 'x'.repeat(5000) }])
    const cases: [string, Buffer, string][] = [
      ['gz', gzipSync(tar), 'decompress it first'],
      ['zst', Buffer.from('28b52ffd00000000', 'hex'), 'decompress it first'],
      ['cut', tar.subarray(0, 2000), 'cut off'],
      ['text', Buffer.from('hello '.repeat(500)), 'no tar'],
      ['empty', Buffer.alloc(0), 'empty'],
      ['huge', makeTar([{ name: 'a', claimedSize: 0o777777777 }]), 'cut off'],
    ]
    for (const [name, bytes, problem] of cases) {
      put(folder, name, bytes)
      const fd = openSync(join(folder, name), 'r')
      const error = await failure(indexTar({ fd, start: 0, size: bytes.length }))
      closeSync(fd)
      assert.match(error.message, problem, name)
    }
  }))

test('random damage to a tar throws nothing but its own error', () =>
  withFolder(async (folder) => {
    const tar = makeTar([
      { name: 'a', content: 'x' },
      { name: 'b', type: '2', link: 'a' },
    ])
    const file = join(folder, 'x')
    // The same in every run (Numerical Recipes' linear congruence).
    let state = 1
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return (state >>> 8) % below
    }
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(tar)
      for (let hit = 0; hit < 4; hit++) bytes[random(bytes.length)] = random(256)
      writeFileSync(file, bytes)
      const fd = openSync(file, 'r')
      await indexTar({ fd, start: 0, size: readFileSync(file).length }).catch((error) => {
        assert.instance(error, BerthError, String(error))
      })
      closeSync(fd)
    }
  }))

test("enroot's own files say how to start a squashfs image", () => {
  const environment = Buffer.from('PATH=/opt/bin:/bin\nQUOTED="a b"\n# note\nexport X=1\nLD=\n')
  const rc = Buffer.from('mkdir -p "/work" 2> /dev/null\ncd "/work" && unset OLDPWD || exit 1\nexec "$@"\n')
  const { env, workdir } = readConfig(environment, rc)
  assert.equal(env, ['PATH=/opt/bin:/bin', 'QUOTED=a b', 'LD='])
  assert.is(workdir, '/work')
  assert.equal(readConfig(undefined, undefined).env, [])
  assert.is(readConfig(undefined, Buffer.from('cd "$(evil)"\n')).workdir, '')
})

test.run()
