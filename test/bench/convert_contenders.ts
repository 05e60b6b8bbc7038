// SPDX-License-Identifier: Apache-2.0
/** Ways from compressed layers to a squashfs, as shell commands: $layers (lowest first), $flat, $out and $tree are set. */
import { build } from '../native/squash/workbench.js'

export interface Contender {
  name: string
  command: string
  /** Leaves an image in $out. */
  makesImage: boolean
  /** Takes minutes with the large image: measured in the first round only. */
  slow?: true
}

const PROCESSORS = '-noappend -no-progress -quiet -processors 2'
const TAR2SQFS = 'tar2sqfs -j 2 -c zstd -X level=1 -b 131072 -q -f $out'
const ZSTD_1 = `-comp zstd -Xcompression-level 1 -b 131072 ${PROCESSORS}`

/** The flat tar on standard output, with the digests that berth checks: of the file and of what is in it. */
const DIGESTS = `mkfifo $tree/packed $tree/plain
  openssl dgst -sha256 $tree/packed & openssl dgst -sha256 $tree/plain &
  tee $tree/packed <$flat | igzip -dc | tee $tree/plain`

/**
 * enroot and the makers of SIF and charliecloud images by the tools they call and with the options they pass: enroot's
 * default ENROOT_SQUASH_OPTIONS, mksquashfs' own default (gzip level 9) for the others.
 */
export function contendersOf(withSlow: boolean): { convert: string; contenders: Contender[] } {
  const convert = build()
  const bound = build('bench/convert_bound.cc')
  const image = (name: string, command: string): Contender => ({ name, command, makesImage: true })
  const other = (name: string, command: string): Contender => ({ name, command, makesImage: false })
  const unpack = 'gzip -dc $flat | tar -C $tree -x'
  const contenders: Contender[] = [
    image('berth zstd-1', `${convert} $out $layers`),
    image('berth lz4', `${convert} -compressor lz4 $out $layers`),
    image('berth zstd-3', `${convert} -level 3 $out $layers`),
    other('bound: inflate, hash', `${bound} $layers`),
    image('berth, flat', `${convert} $out $flat`),
    other('bound, flat', `${bound} $flat`),
    image('igzip | tar2sqfs -j2', `igzip -dc $flat | ${TAR2SQFS}`),
    image('gzip | tar2sqfs -j2', `gzip -dc $flat | ${TAR2SQFS}`),
    image('digests, igzip | tar2sqfs -j2', `${DIGESTS} | ${TAR2SQFS}; wait`),
    // sqfstar is this with other words; Debian 12's takes no compression level.
    image('igzip | sqfstar', `igzip -dc $flat | mksquashfs - $out -tar ${ZSTD_1}`),
    other('unpack: igzip | tar -x', 'igzip -dc $flat | tar -C $tree -x'),
    image('unpack + mksquashfs', `igzip -dc $flat | tar -C $tree -x; mksquashfs $tree $out ${ZSTD_1}`),
    {
      ...image("enroot's pipeline", `${unpack}; mksquashfs $tree $out -comp lzo -noD ${PROCESSORS}`),
      slow: true,
    },
    { ...image('gzip-9: SIF, charliecloud', `${unpack}; mksquashfs $tree $out ${PROCESSORS}`), slow: true },
  ]
  return { convert, contenders: contenders.filter(({ slow }) => withSlow || slow !== true) }
}
