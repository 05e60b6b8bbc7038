// SPDX-License-Identifier: Apache-2.0
/** Signed SIF files in steps: what a site's policy lets run, and what users are told. */
import { generateKeyPairSync } from 'node:crypto'
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
import { distOf } from '../cluster/cluster.js'
import { must, type Outcome, until } from '../cluster/command.js'
import { processAlive } from '../cluster/daemon.js'
import { exits, lines, prints, refuses, says } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import * as sif from '../cluster/sif.js'
import { Signers } from '../cluster/sif_sign.js'
import { USER_A } from '../cluster/users.js'
import { suite } from '../suite.js'
import { APPTAINER_DIR, without } from './engines.js'

const test = suite('signed SIF')
const at = useCluster(test, { nodes: [{}], plugArgs: [`engine_path=${APPTAINER_DIR}:/usr/bin`] })

const missing = without('gpg')
const apptainer = join(APPTAINER_DIR, 'apptainer')
const noApptainer = existsSync(apptainer) ? undefined : 'no apptainer that runs here'
const signers = missing === undefined ? new Signers() : undefined
const fingerprints: Record<string, string> = {}
const file = (name: string) => join(at.cluster.shared, name)
const keys = () => join(at.cluster.dir, 'keys')
const step = (image: string, ...words: string[]): Promise<Outcome> =>
  at.cluster.srun(['-n1', `--container-image=${file(image)}`, ...words, 'sh', '-c', 'echo ran'])

/** Of the worker that the next step starts. */
async function setPolicy(policy: string): Promise<void> {
  writeFileSync(join(at.cluster.dir, 'berth.conf'), `sif_signatures = ${policy}\nsif_keys = ${keys()}\n`)
  const [node] = at.cluster.nodes
  const pid = node?.workerPid()
  if (pid === undefined) return
  process.kill(pid, 'SIGTERM')
  await until('the worker has ended', () => node?.workerPid() !== pid || !processAlive(pid))
}

function trust(...names: string[]): void {
  if (signers !== undefined)
    writeFileSync(keys(), signers.keys(names.map((name) => fingerprints[name] ?? '')), { mode: 0o644 })
}

async function stored(): Promise<number> {
  const store = at.cluster.nodes[0]?.storeDir ?? ''
  return lines(
    await at.cluster.command(['find', store, '-type', 'f', '-name', 'copy-*'], { user: 'root' }),
  ).filter((path) => path.endsWith('.sqsh')).length
}

test.before(async () => {
  const tree = join(at.cluster.dir, 'tree')
  for (const directory of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root'])
    mkdirSync(join(tree, directory), { recursive: true })
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'))
  for (const applet of ['sh', 'echo']) symlinkSync('busybox', join(tree, 'bin', applet))
  const squashfs = join(at.cluster.dir, 'tree.sqsh')
  await must(['mksquashfs', tree, squashfs, '-quiet', '-no-progress'])
  const parts = [
    { type: 0x4001, content: Buffer.from('bootstrap: scratch\n') },
    { content: readFileSync(squashfs) },
  ]
  writeFileSync(file('plain.sif'), sif.makeSif(parts))
  if (signers !== undefined) {
    fingerprints.alice = signers.make('Alice <alice@example.org>')
    fingerprints.stranger = signers.make('Stranger <stranger@example.org>')
    const signed = signers.sign(parts, fingerprints.alice)
    writeFileSync(file('signed.sif'), signed)
    writeFileSync(file('strange.sif'), signers.sign(parts, fingerprints.stranger))
    // In the middle of busybox, behind all that the reader of squashfs would object to.
    const flipped = Buffer.from(signed)
    const place = 28672 + 4096 + 96
    flipped[place + 200_000] = (flipped[place + 200_000] ?? 0) ^ 1
    writeFileSync(file('flipped.sif'), flipped)
  }
  await must(['chown', '-R', USER_A.name, at.cluster.shared])
})

test.after(() => signers?.close())

test.needs(
  missing,
  'required: unsigned, strange and changed ones are refused, and nothing of them is kept',
  async () => {
    trust('alice')
    await setPolicy('require')
    const cases: [string, RegExp][] = [
      ['plain.sif', /BERTH_ESIFSIGNATURE\]: image file \S+plain\.sif \(SIF\) is not signed\n/],
      ['strange.sif', /BERTH_ESIFSIGNATURE\].*is signed by key \w{16}, which the site does not know\n/],
      [
        'flipped.sif',
        /BERTH_ESIFSIGNATURE\].*differs in object 2 from what \w{40} \(Alice <alice@example.org>\) signed\n/,
      ],
    ]
    for (const [name, reason] of cases) {
      const outcome = refuses(exits(await step(name), 125), reason)
      says(
        outcome,
        new RegExp(`hint: sign it by \`apptainer sign\` with a key of ${keys()}, or ask the operators`),
      )
    }
    assert.is(await stored(), 0)
  },
)

test.needs(missing, 'required: a signed one runs, and berth tells by whom it was signed', async () => {
  prints(await step('signed.sif'), ['ran'])
  assert.is(await stored(), 1)
  const by = `${fingerprints.alice} (Alice <alice@example.org>)`
  const explained = exits(await step('signed.sif', '--container-explain'), 0)
  assert.ok(explained.output.includes(`"signer": "${by}"`), explained.output)
  const dist = distOf(at.cluster)
  const listed = await at.cluster.command(
    [join(dist, 'node'), join(dist, 'bin/berth.js'), 'images', '--json'],
    { user: 'root', env: { BERTH_RUNTIME_DIR: at.cluster.nodes[0]?.runtimeDir ?? '' } },
  )
  assert.ok(exits(listed, 0).stdout.includes(`"signer": "${by}"`), listed.output)
})

test.needs(missing, 'a key that is taken away counts no more with the next step', async () => {
  trust('stranger')
  refuses(await step('signed.sif'), /BERTH_ESIFSIGNATURE.*which the site does not know/)
  prints(await step('strange.sif'), ['ran'])
  rmSync(keys())
  refuses(
    await step('strange.sif'),
    /BERTH_ESITE\]: \S+berth\.conf:1: sif_keys: \S+keys cannot be read: ENOENT/,
  )
  trust('alice')
  prints(await step('signed.sif'), ['ran'])
})

test.needs(missing, 'what was taken unsigned is not there for a site that requires signatures', async () => {
  await setPolicy('ignore')
  prints(await step('plain.sif'), ['ran'])
  await setPolicy('check')
  prints(await step('plain.sif'), ['ran'])
  refuses(await step('strange.sif'), /BERTH_ESIFSIGNATURE.*which the site does not know/)
  await setPolicy('require')
  refuses(await step('plain.sif'), /BERTH_ESIFSIGNATURE.*is not signed/)
})

test.needs(noApptainer, 'one that apptainer has signed runs, until a byte of it changes', async () => {
  const env = {
    APPTAINER_TMPDIR: at.cluster.shared,
    APPTAINER_CACHEDIR: file('cache'),
    APPTAINER_KEYSDIR: file('ring'),
  }
  const does = async (...words: string[]) =>
    exits(await at.cluster.command([apptainer, ...words], { env }), 0)
  await does('build', '--force', file('built.sif'), join(at.cluster.dir, 'tree'))
  const identity = [
    '--name=Maker',
    '--email=maker@example.org',
    '--comment=test',
    '--password=',
    '--push=false',
  ]
  await does('key', 'newpair', '--bit-length=2048', ...identity)
  for (const name of ['part.sif', 'dsse.sif'])
    exits(await at.cluster.command(['cp', file('built.sif'), file(name)]), 0)
  await does('sign', '--keyidx=0', file('built.sif'))
  await does('verify', '--local', file('built.sif'))
  copyFileSync(file('ring/pgp-public'), keys())
  await setPolicy('require')
  for (const engine of ['native', 'apptainer'])
    prints(await step('built.sif', `--container-engine=${engine}`), ['ran'])
  const { privateKey } = generateKeyPairSync('ed25519')
  writeFileSync(file('key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  await does('sign', `--key=${file('key.pem')}`, file('dsse.sif'))
  refuses(await step('dsse.sif'), /BERTH_ESIFSIGNATURE.*\(DSSE\), which berth does not check/)
  await does('sign', '--keyidx=0', '--sif-id=1', file('part.sif'))
  refuses(await step('part.sif'), /BERTH_ESIFSIGNATURE.*other objects beside its system than \w{40} \(Maker/)
  const listed = says(
    exits(await at.cluster.command([apptainer, 'sif', 'list', file('built.sif')], { env }), 0),
    /FS \(Squashfs/,
  )
  const start = Number(/\|(\d+)-\d+\s*\|FS \(Squashfs/.exec(listed.stdout)?.[1])
  const bytes = readFileSync(file('built.sif'))
  bytes[start + 200_000] = (bytes[start + 200_000] ?? 0) ^ 1
  writeFileSync(file('built.sif'), bytes)
  refuses(await step('built.sif'), /BERTH_ESIFSIGNATURE.*differs in object \d+ from what \w{40} \(Maker/)
  rmSync(file('built.sif'))
})

test.run()
