// SPDX-License-Identifier: Apache-2.0
/** A registry with one small image, that answers, keeps everybody waiting, stops in the middle of a layer, or refuses. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

/** stall: no answer at all; half: layers stop in the middle; refuse: 404 for everything. */
type Mood = 'answer' | 'stall' | 'half' | 'refuse'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

export class MoodyRegistry {
  questions = 0
  /** Layers that were asked for. */
  layers = 0
  private mood: Mood = 'answer'
  private readonly held: (() => void)[] = []
  private readonly blobs = new Map<string, Buffer>()
  private readonly layerDigest: string
  private readonly manifest: Buffer

  private constructor(private readonly server: Server) {
    const tar = makeTar()
    const layer = gzipSync(tar, { level: 1 })
    const config = {
      ...{ architecture: 'amd64', os: 'linux', config: { Env: ['FROM_IMAGE=yes'], WorkingDir: '/etc' } },
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    }
    if (process.arch === 'arm64') config.architecture = 'arm64'
    const configBytes = Buffer.from(JSON.stringify(config))
    this.layerDigest = digestOf(layer)
    for (const bytes of [layer, configBytes]) this.blobs.set(digestOf(bytes), bytes)
    this.manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: descriptor('application/vnd.oci.image.config.v1+json', configBytes),
        layers: [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', layer)],
      }),
    )
    server.on('request', ({ url, method }, response: ServerResponse) => {
      this.questions += 1
      const serve = () => this.serve(url ?? '', method ?? '', response)
      if (this.mood === 'stall') this.held.push(serve)
      else serve()
    })
  }

  static async start(): Promise<MoodyRegistry> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new MoodyRegistry(server)
  }

  /** Each name is the same image. */
  image(name = 'image'): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}/moody/${name}:1`
  }

  /** What was held goes on in the new mood. */
  turn(mood: Mood): void {
    this.mood = mood
    for (const goOn of this.held.splice(0)) goOn()
  }

  stop(): void {
    this.turn('refuse')
    this.server.closeAllConnections()
    this.server.close()
  }

  private serve(url: string, method: string, response: ServerResponse): void {
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(url)?.[1]
    const blob = digest === undefined ? undefined : this.blobs.get(digest)
    if (this.mood === 'refuse') response.writeHead(404).end()
    else if (/\/manifests\//.test(url)) {
      const headers = { 'content-type': MANIFEST, 'docker-content-digest': digestOf(this.manifest) }
      response.writeHead(200, { ...headers, 'content-length': this.manifest.length })
      response.end(method === 'HEAD' ? undefined : this.manifest)
    } else if (blob !== undefined) this.serveBlob(blob, digest === this.layerDigest, response)
    else response.writeHead(url === '/v2/' ? 200 : 404).end()
  }

  private serveBlob(blob: Buffer, isLayer: boolean, response: ServerResponse): void {
    if (isLayer) this.layers += 1
    response.writeHead(200, { 'content-length': blob.length })
    if (!isLayer || this.mood !== 'half') {
      response.end(blob)
      return
    }
    const middle = blob.length >> 1
    response.write(blob.subarray(0, middle))
    this.held.push(() => {
      if (this.mood === 'refuse') response.destroy()
      else response.end(blob.subarray(middle))
    })
  }
}

/** busybox and some bytes that do not compress, so that half of the layer is a real half. */
function makeTar(): Buffer {
  const script = `set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; cd $d; mkdir bin etc proc sys dev tmp run root
cp /bin/busybox bin/; for a in sh cat sleep id env true readlink; do ln -s busybox bin/$a; done
echo moody >etc/inside; head -c 4000000 /dev/urandom >etc/noise; tar --owner=0 --group=0 -c .`
  const { stdout, status } = spawnSync('sh', ['-c', script], { maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error('cannot make a layer')
  return stdout
}

function descriptor(mediaType: string, bytes: Buffer) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
