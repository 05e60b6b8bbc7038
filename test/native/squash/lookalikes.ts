// SPDX-License-Identifier: Apache-2.0
/**
 * Layers in the likeness of Python's, GCC's and CUDA's images: their numbers of files, names, links and what their upper
 * layers take away, with less content, and as many times as many small files as asked for. The same bytes for the same seed.
 */
import { type Cipher, createCipheriv } from 'node:crypto'
import { dir, file, hardlink, opaque, padded, symlink, type TarEntry, whiteout } from './tar_writer.js'

/** A stream of bytes that looks random. */
class Seed {
  private readonly stream: Cipher

  constructor(number: number) {
    this.stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, number), Buffer.alloc(16))
  }

  bytes(size: number): Buffer {
    return this.stream.update(Buffer.alloc(size))
  }

  below(limit: number): number {
    return this.bytes(4).readUInt32LE() % limit
  }

  /** Compresses to three quarters. */
  text(size: number): string {
    return this.bytes(size).toString('base64').slice(0, size)
  }

  /** Every third MiB is another's copy, so that blocks repeat within a file and between files. */
  library(megabytes: number): Buffer {
    const [one, other] = [this.bytes(1 << 20), Buffer.alloc(1 << 20, this.text(3000))]
    return Buffer.concat(
      Array.from({ length: megabytes }, (_, i) =>
        i % 3 === 0 ? one : i % 3 === 1 ? other : this.bytes(1 << 20),
      ),
    )
  }
}

/** Entries of one layer, each directory before what is in it, as builders write them. */
class Layer {
  readonly entries: TarEntry[] = []
  private readonly made = new Set<string>()

  constructor(private readonly seed: Seed) {
    this.entries.push(dir('./', this.status()))
  }

  file(path: string, content: Buffer | string, more: Partial<TarEntry> = {}): void {
    const mode = content.length > 1 << 20 || path.includes('/bin/') ? 0o755 : 0o644
    this.add(path, file(path, content, { mode, ...this.status(), ...more }))
  }

  symlink(path: string, target: string): void {
    this.add(path, symlink(path, target))
  }

  hardlink(path: string, target: string): void {
    this.add(path, hardlink(path, target))
  }

  remove(path: string): void {
    const slash = path.lastIndexOf('/') + 1
    this.add(path, whiteout(path.slice(0, slash), path.slice(slash)))
  }

  /** The directory is another one, in which nothing is left of lower layers. */
  replace(path: string): void {
    this.add(`${path}/`, opaque(`${path}/`))
  }

  /** What a sparse archive holds of a file with `content` far behind its start. */
  sparse(path: string, size: number, content: Buffer): void {
    const map = padded(Buffer.from(`1\n${size - content.length}\n${content.length}\n`))
    const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': path }
    this.file(path, Buffer.concat([map, content]), { pax: { ...pax, 'GNU.sparse.realsize': String(size) } })
  }

  private add(path: string, entry: TarEntry): void {
    const parts = path.split('/').slice(0, -1)
    for (let i = 1; i <= parts.length; i++) {
      const parent = parts.slice(0, i).join('/')
      if (this.made.has(parent)) continue
      this.made.add(parent)
      this.entries.push(dir(parent, { mode: this.seed.below(9) === 0 ? 0o2775 : 0o755, ...this.status() }))
    }
    this.entries.push(entry)
  }

  private status(): Partial<TarEntry> {
    const owner = this.seed.below(7) === 0 ? 1000 + this.seed.below(3) : 0
    return { uid: owner, gid: owner, mtime: 1_500_000_000 + this.seed.below(200_000_000) }
  }
}

function layers(number: number, ...fill: ((layer: Layer, seed: Seed) => void)[]): TarEntry[][] {
  const seed = new Seed(number)
  return fill.map((one) => {
    const layer = new Layer(seed)
    one(layer, seed)
    return layer.entries
  })
}

/** Sources, each with its compiled twin; packages differ in depth. */
function packages(layer: Layer, seed: Seed, root: string, count: number, modules: number): void {
  for (let i = 0; i < count; i++) {
    const deep = `${root}/package${i}${'/_vendor/a_module_with_a_long_name'.repeat(i % 9)}`
    layer.file(`${deep}/__init__.py`, '')
    for (let j = 0; j < modules; j++) {
      layer.file(`${deep}/module${j}.py`, seed.text(200 + seed.below(3000)))
      layer.file(`${deep}/__pycache__/module${j}.cpython-311.pyc`, seed.bytes(150 + seed.below(2000)))
    }
  }
}

const SITE = 'opt/conda/lib/python3.11/site-packages'

/** Thousands of small files; conda's two names for each; what a clean-up in the last layer takes away. */
export function pythonLike(times = 1): TarEntry[][] {
  return layers(
    1,
    (layer, seed) => {
      for (const name of ['bin', 'lib', 'lib64']) layer.symlink(name, `usr/${name}`)
      layer.file('usr/bin/python3.11', seed.library(1))
      layer.hardlink('usr/bin/python3', 'usr/bin/python3.11')
      layer.symlink('usr/bin/python', 'python3')
      packages(layer, seed, 'usr/lib/python3.11', 40 * times, 10)
      layer.symlink('usr/lib/python3.11/lib64', '../../lib')
    },
    (layer, seed) => {
      const cache = 'opt/conda/pkgs/numpy-1.26.4-py311h64a7726_0'
      packages(layer, seed, `${cache}/site-packages`, 20 * times, 8)
      for (const { name, type } of layer.entries.slice()) {
        const path = String(name)
        if (type === undefined && path.startsWith(cache))
          layer.hardlink(path.replace(`${cache}/site-packages`, SITE), path)
      }
    },
    (layer, seed) => {
      packages(layer, seed, 'usr/local/lib/python3.11/dist-packages', 40 * times, 10)
      layer.remove('usr/lib/python3.11/package3')
      layer.file('usr/lib/python3.11/package4/__init__.py', 'was empty')
      layer.replace('usr/lib/python3.11/package7')
      packages(layer, seed, 'usr/lib/python3.11', 1, 3)
    },
    (layer) => {
      layer.remove('opt/conda/pkgs')
      for (let j = 0; j < 10; j++)
        layer.remove(`usr/lib/python3.11/package18/__pycache__/module${j}.cpython-311.pyc`)
      layer.file('usr/lib/python3.11/lib64/now', 'a directory of its own')
    },
  )
}

const GCC = 'usr/lib/gcc/x86_64-linux-gnu/12'

/** Large programs with several names, archives, deep headers; directories that go, come back and change their kind. */
export function gccLike(times = 1): TarEntry[][] {
  const triplet = 'x86_64-linux-gnu'
  return layers(
    2,
    (layer, seed) => {
      layer.file(`${GCC}/cc1`, seed.library(3))
      for (const name of ['cc1plus', 'lto1', 'f951']) layer.hardlink(`${GCC}/${name}`, `${GCC}/cc1`)
      for (const tool of ['gcc', 'g++', 'cpp']) {
        layer.file(`usr/bin/${tool}-12`, seed.library(1))
        layer.hardlink(`usr/bin/${triplet}-${tool}-12`, `usr/bin/${tool}-12`)
        layer.symlink(`usr/bin/${tool}`, `${tool}-12`)
      }
      for (const name of ['gcc', 'stdc++', 'asan', 'tsan', 'gomp'])
        layer.file(`${GCC}/lib${name}.a`, Buffer.concat([Buffer.from('!<arch>\n'), seed.library(1)]))
      for (let i = 0; i < 400 * times; i++) {
        const parts = ['bits', 'ext', 'debug', 'parallel', 'pb_ds/detail/bin_search_tree_'].slice(i % 5)
        layer.file(`usr/include/c++/12/${parts.join('/')}/header${i}.h`, seed.text(seed.below(4000)))
      }
      layer.symlink(`usr/include/${triplet}/c++/12/bits`, '../../../c++/12/bits')
      layer.symlink('usr/lib64', 'lib')
      for (let i = 0; i < 40; i++) layer.file(`${GCC}/plugin/include/tree${i}.def`, seed.text(500))
      for (let i = 0; i < 40; i++) layer.file(`usr/share/doc/gcc-12/page${i}.gz`, seed.bytes(900))
    },
    (layer, seed) => {
      layer.symlink('etc/alternatives/cc', '/usr/bin/gcc')
      layer.symlink('usr/bin/cc', '/etc/alternatives/cc')
      layer.file('usr/bin/cpp', seed.library(1))
      layer.file('usr/lib64/only.so', 'a directory where a symlink was')
      layer.remove(`${GCC}/plugin`)
      layer.remove('usr/bin/gcc-12')
      layer.remove('usr/share/doc')
    },
    (layer, seed) => {
      layer.file(`${GCC}/cc1plus`, seed.library(2))
      for (const name of ['asan', 'tsan']) layer.remove(`${GCC}/lib${name}.a`)
      layer.file(`${GCC}/plugin/include/tree0.def`, 'came back')
      layer.file('usr/share/doc', 'a file where a directory was')
      layer.symlink(`usr/include/c++/12/ext`, 'bits')
    },
  )
}

const TARGET = 'usr/local/cuda-12.3/targets/x86_64-linux'

/** Few large libraries behind chains of symlinks, a sparse archive, and an update that brings the next versions. */
export function cudaLike(times = 1): TarEntry[][] {
  const install = (layer: Layer, name: string, version: string, content: Buffer): void => {
    const major = version.split('.')[0]
    layer.file(`${TARGET}/lib/lib${name}.so.${version}`, content)
    layer.symlink(`${TARGET}/lib/lib${name}.so.${major}`, `lib${name}.so.${version}`)
    layer.symlink(`${TARGET}/lib/lib${name}.so`, `lib${name}.so.${major}`)
  }
  return layers(
    3,
    (layer, seed) => {
      layer.file('etc/os-release', seed.text(300))
      layer.symlink('etc/alternatives/cuda', '/usr/local/cuda-12.3')
      layer.symlink('usr/local/cuda', '/etc/alternatives/cuda')
    },
    (layer) => {
      layer.symlink('usr/local/cuda-12.3/lib64', 'targets/x86_64-linux/lib')
      layer.symlink('usr/local/cuda-12.3/include', 'targets/x86_64-linux/include')
      layer.file('etc/ld.so.conf.d/000_cuda.conf', '/usr/local/cuda/targets/x86_64-linux/lib\n')
    },
    (layer, seed) => {
      for (const name of ['cudart', 'cublas', 'cufft']) install(layer, name, '12.3.4.1', seed.library(3))
      layer.file(`${TARGET}/lib/noted`, 'x', { pax: { 'SCHILY.xattr.user.origin': 'a package' } })
    },
    (layer, seed) => {
      layer.sparse(`${TARGET}/lib/libcublasLt_static.a`, 24 << 20, seed.bytes(1 << 20))
      for (let i = 0; i < 100 * times; i++) layer.file(`${TARGET}/include/cub/block${i}.cuh`, seed.text(2000))
      for (let i = 0; i < 50 * times; i++)
        layer.file(`opt/nvidia/nsight-compute/host/file${i}`, seed.bytes(3000))
    },
    (layer, seed) => {
      for (const name of ['cudart', 'cublas']) {
        layer.remove(`${TARGET}/lib/lib${name}.so.12.3.4.1`)
        const content = seed.library(2)
        install(layer, name, '12.4.2.0', content)
        layer.file(`usr/local/cuda-12.3/compat/lib${name}.so.12.4.2.0`, content)
      }
      layer.replace('opt/nvidia/nsight-compute')
      layer.remove('usr/local/cuda')
      layer.symlink('usr/local/cuda-12', 'cuda-12.3')
    },
    (layer) => {
      layer.symlink('usr/local/cuda', 'cuda-12')
      layer.remove(`${TARGET}/include/cub/block0.cuh`)
      layer.file('opt/nvidia/entrypoint.d/10-banner.sh', 'echo banner\n')
    },
  )
}
