// SPDX-License-Identifier: Apache-2.0
/** A process to be killed: attaches the image argv[2] with the addon argv[3] and builds namespaces without end. */
import { createRequire } from 'node:module'
import type { Native } from '../../../src/native.js'
import { bind, USER } from './lab.js'

const [imagePath = '', addon = ''] = process.argv.slice(2)
const native = createRequire(import.meta.url)(addon) as Native
const image = await native.attachImage(imagePath)
process.stdout.write('attached\n')
for (;;) {
  const built = await native.buildNamespace({
    image: { device: image.device },
    readonly: false,
    upperSize: '1m',
    ...USER,
    insideUid: USER.uid,
    insideGid: USER.gid,
    idmap: true,
    mounts: [bind('/proc', '/proc', { trusted: true }), bind('/usr', '/mnt')],
    unshare: [],
    staging: '/tmp',
  })
  native.closeFd(built.userNs)
  native.closeFd(built.mountNs)
}
