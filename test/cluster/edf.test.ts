// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: environment files spell variables this way
/** Environment files, and the words of Shifter and GSI, on a whole cluster: what the task sees in the end. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../suite.js'
import type { Outcome } from './command.js'
import { exits, lines, prints, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'

const test = suite('environment files and words of others')
const at = useCluster(test, { nodes: [{}, {}], plugArgs: ['shifter_flags=long', 'gsi_flags=yes'] })
let folder = ''

/** Writes NAME.toml with the test image into the directory of EDF_PATH. */
function edf(name: string, text: string, image = at.images.debian): void {
  folder = join(at.cluster.shared, 'edf')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${name}.toml`), `image = "${image}"\n${text}`)
}
const srun = (
  options: readonly string[],
  command: string,
  env: Record<string, string> = {},
): Promise<Outcome> =>
  at.cluster.srun([...options, 'sh', '-c', command], { env: { EDF_PATH: folder, ...env } })

test('image, mounts, workdir and variables of the file, on every node', async () => {
  const env = '[env]\nFOO = "${OUTSIDE}-x"\nBERTH_TEST_IMAGE = "file"\nGONE = ""\n'
  edf('sim', `workdir = "/m"\nmounts = ["./:/m"]\n${env}`)
  writeFileSync(join(at.cluster.shared, 'seen'), 'seen\n')
  const show = 'echo $FOO $BERTH_TEST_IMAGE [$GONE] $(pwd) $(cat seen)'
  const told = await srun(['-N2', '-n2', '--environment=sim'], show, {
    OUTSIDE: 'host',
    GONE: 'host',
  })
  prints(told, ['host-x file [] /m seen', 'host-x file [] /m seen'])
  // By path, from the directory of the command.
  const path = await srun(['-n1', '--environment=./edf/sim.toml'], show, {
    OUTSIDE: 'host',
    EDF_PATH: '/none',
  })
  prints(path, ['host-x file [] /m seen'])
})

test('the root can be written to, unless the file or a flag says otherwise', async () => {
  edf('writes', '')
  edf('reads', 'writable = false\n')
  exits(await srun(['--environment=writes'], 'touch /new'), 0)
  says(await srun(['--environment=reads'], 'touch /new'), /Read-only file system/)
  says(await srun(['--environment=writes', '--container-readonly'], 'touch /new'), /Read-only file system/)
})

test('steps of a job read no file: all is carried', async () => {
  edf('job', '[env]\nFOO = "carried"\n')
  const script = `#!/bin/sh\nrm ${folder}/job.toml\nunset EDF_PATH\nsrun sh -c 'echo $FOO'\n`
  const told = await at.cluster.batch(script, ['--environment=job', '--container-scope=step'], {
    env: { EDF_PATH: folder },
  })
  prints(told, ['carried'])
})

test('a mistake is told at submit, with its line', async () => {
  edf('bad', 'imgae = "x"\n')
  refuses(await srun(['--environment=bad'], 'true'), /bad\.toml:2: unknown key "imgae"/)
})

test("Shifter's words run the steps in the image and leave the script outside", async () => {
  const release = 'grep -h ^PRETTY_NAME /etc/os-release'
  const flags = [
    `--shifter.image=docker:${at.images.debian}`,
    `--shifter.volume=${at.cluster.shared}:/data:ro`,
  ]
  const inside = lines(await srun([flags[0] ?? ''], release))
  const [outer, inner, seen] = lines(
    await at.cluster.batch(`#!/bin/sh\n${release}\nsrun ${release}\nsrun cat /data/seen\n`, flags),
  )
  if (inner !== inside[0] || outer === inner || seen !== 'seen')
    throw new Error(`outside ${outer}, inside ${inner}, wanted ${inside[0]}, mount ${seen}`)
})

test("GSI's words", async () => {
  const told = await srun(
    [`--singularity-container=docker://${at.images.debian}`, `--singularity-bind=${at.cluster.shared}:/data`],
    'cat /data/seen',
  )
  prints(told, ['seen'])
  refuses(
    await srun([`--singularity-container=${at.images.debian}`, '--singularity-args=--nv'], 'true'),
    /--container-engine-args is not allowed on this system/,
  )
})

test.run()
