// SPDX-License-Identifier: Apache-2.0
/** SIF files as images: one of our own making, and one that the real apptainer has built. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { must } from '../cluster/command.js'
import { exits, lines, prints, refuses, says } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import * as sif from '../cluster/sif.js'
import { USER_A } from '../cluster/users.js'
import { suite } from '../suite.js'
import { APPTAINER_DIR } from './engines.js'

const test = suite('SIF')
const missing = existsSync(APPTAINER_DIR) ? undefined : 'no apptainer that runs here'
const at = useCluster(test, {
  nodes: [{}],
  plugArgs: [`engine_path=${APPTAINER_DIR}:/usr/bin`],
})
const file = (name: string) => join(at.cluster.shared, name)
const step = (image: string, ...words: string[]) =>
  at.cluster.srun(['-n1', `--container-image=${image}`, ...words])

/** As `apptainer build` leaves a definition file's %environment and %runscript. */
const SCRIPTS: Record<string, string> = {
  'env/90-environment.sh':
    'export FROM_SIF=here\nexport PATH=/opt/bin:$PATH\nexport COMPUTED=$(echo by a shell)\n',
  runscript: '#!/bin/sh\necho "runscript of $FROM_SIF with $*"\n',
  'labels.json': '{"org.label-schema.schema-version": "1.0"}',
}
const TELLS = 'echo $FROM_SIF $PATH $COMPUTED; cat /etc/os-release'

test.before(async () => {
  const tree = join(at.cluster.dir, 'tree')
  for (const directory of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', '.singularity.d/env'])
    mkdirSync(join(tree, directory), { recursive: true })
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'))
  for (const applet of ['sh', 'echo', 'cat']) symlinkSync('busybox', join(tree, 'bin', applet))
  writeFileSync(join(tree, 'etc/os-release'), 'ID=sif\n')
  for (const [name, text] of Object.entries(SCRIPTS))
    writeFileSync(join(tree, '.singularity.d', name), text, { mode: 0o755 })
  const squashfs = join(at.cluster.dir, 'tree.sqsh')
  await must(['mksquashfs', tree, squashfs, '-quiet', '-no-progress', '-all-root'])
  const content = readFileSync(squashfs)
  const definition = { type: 0x4001, content: Buffer.from('bootstrap: scratch\n') }
  writeFileSync(file('own.sif'), sif.makeSif([definition, { content }]))
  writeFileSync(file('locked.sif'), sif.makeSif([{ system: sif.ENCRYPTED, content }]))
  writeFileSync(file('cut.sif'), sif.makeSif([{ content }]).subarray(0, -8192))
  const wrong = Buffer.from(content)
  wrong.fill(0xff, 96, 2000)
  writeFileSync(file('damaged.sif'), sif.makeSif([{ content: wrong }]))
  await must(['chown', '-R', USER_A.name, at.cluster.shared])
})

test('it runs by its path, with the variables of its scripts; the file is read once', async () => {
  const path = '/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  for (let turn = 0; turn < 2; turn++)
    prints(await step('./own.sif', 'sh', '-c', TELLS), [`here ${path}`, 'ID=sif'])
  const store = at.cluster.nodes[0]?.storeDir ?? ''
  const stored = lines(await at.cluster.command(['find', store, '-name', 'copy-*.sqsh'], { user: 'root' }))
  assert.is(stored.length, 1)
})

test('with its entrypoint its scripts are run, and its runscript like any program', async () => {
  const seen = await step('./own.sif', '--container-entrypoint', 'sh', '-c', TELLS)
  says(exits(seen, 0), /^here \/opt\/bin:\S+ by a shell$/m)
  prints(await step('./own.sif', '/.singularity.d/runscript', 'words'), ['runscript of here with words'])
})

test('encrypted, cut and damaged ones are refused, each with its reason', async () => {
  const cases: [string, RegExp][] = [
    ['locked.sif', /BERTH_ESIFENGINE.*is encrypted[\s\S]*hint: .*apptainer, or singularity, runs it/],
    ['cut.sif', /BERTH_ESIF\].*ends before its file system does/],
    ['damaged.sif', /BERTH_ESQUASHFS/],
  ]
  for (const [name, reason] of cases)
    refuses(await step(file(name), 'sh', '-c', 'echo ran on $(hostname)'), reason)
})

test.needs(missing, 'one that apptainer has built runs in berth and in apptainer under berth', async () => {
  const tree = join(at.cluster.dir, 'tree')
  const words = ['build', '--force', file('built.sif'), tree]
  const env = { APPTAINER_TMPDIR: at.cluster.shared, APPTAINER_CACHEDIR: file('cache') }
  exits(await at.cluster.command([join(APPTAINER_DIR, 'apptainer'), ...words], { env }), 0)
  const direct = await at.cluster.command(
    [join(APPTAINER_DIR, 'apptainer'), 'sif', 'list', file('built.sif')],
    { env },
  )
  says(exits(direct, 0), /FS \(Squashfs\/\*System\/amd64\)/)
  const both = ['echo $FROM_SIF', 'cat /etc/os-release'].join(';')
  for (const engine of ['native', 'apptainer'])
    prints(await step(file('built.sif'), `--container-engine=${engine}`, 'sh', '-c', both), [
      'here',
      'ID=sif',
    ])
  rmSync(file('built.sif'))
})

test.run()
