// SPDX-License-Identifier: Apache-2.0
/** What Slurm does with jobs only where processes are tracked by their groups: X11, and signals for a script alone. */
import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { suite } from '../suite.js'
import { until } from './command.js'
import { freePorts } from './daemon.js'
import { exits, prints, says } from './expect.js'
import { useCluster } from './fixture.js'

const test = suite('x11')
const at = useCluster(test, { nodes: [{}], proctrack: 'pgid', slurmConf: ['PrologFlags=X11'] })
const image = (): string => `--container-image=${at.images.busybox}`
/** What lets a static image run them. */
const HOST_PROGRAMS = '--container-mounts=/usr:/usr,/etc:/etc,/usr/lib:/lib,/usr/lib64:/lib64'

test('a suspended job stands still and goes on; a signal for the script alone reaches it', async () => {
  for (const more of [[], ['--container-unshare=pid']]) {
    const name = `still-${more.length}`
    const file = join(at.cluster.shared, name)
    const count = `trap 'echo heard; exit 5' USR1; i=0; while test $i -lt 3000; do i=$((i+1)); echo >> ${name}; sleep 0.1; done`
    const options = ['-n1', '-J', name, image(), '--container-mount-cwd', ...more]
    const done = at.cluster.batch(`#!/bin/sh\n${count}\n`, options)
    // By the file's size: one that is written anew may be empty when its writer is stopped.
    const counted = (): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0
    await until('its count', () => counted() > 2)
    const job = (await at.cluster.command(['squeue', '-h', '-n', name, '-o', '%A'])).stdout.trim()
    exits(await at.cluster.scontrol(['suspend', job]), 0)
    let before = -1
    const stands = (): boolean => {
      const last = before
      before = counted()
      return before === last
    }
    await until('its rest', stands, 90_000, 500)
    exits(await at.cluster.scontrol(['resume', job]), 0)
    await until('its further count', () => counted() > before)
    exits(await at.cluster.command(['scancel', '--batch', '-s', 'USR1', job]), 0)
    says(exits(await done, 5), /^heard$/m)
  }
})

/** Reads a display's number and the cookie for it, shows the cookie as X11 clients do, and prints the answer. */
const X11_CLIENT = `export PATH=/usr/bin; number=\${DISPLAY#*:}; number=\${number%.*}
cookie=$(xauth list "$DISPLAY" 2>/dev/null | sed 's/.* //; s/../\\\\x&/g')
exec 3<>/dev/tcp/localhost/$((6000 + number))
printf "l\\0\\x0b\\0\\0\\0\\x12\\0\\x10\\0\\0\\0MIT-MAGIC-COOKIE-1\\0\\0$cookie" >&3
cat <&3`

test('--x11: a program in the container reaches the display of who submits, with its cookie', async () => {
  // The first words of X11's protocol: twelve bytes, a name of eighteen and two, a cookie of sixteen.
  const cookie = randomBytes(16)
  const display = createServer((client) => {
    let heard = Buffer.alloc(0)
    client.on('error', () => {})
    client.on('data', (bytes) => {
      heard = Buffer.concat([heard, bytes])
      if (heard.length >= 48) client.end(heard.subarray(32, 48).equals(cookie) ? 'welcome\n' : 'stranger\n')
    })
  })
  const [port = 0] = await freePorts(1)
  await new Promise<void>((resolve) => display.listen(port, '127.0.0.1', resolve))
  try {
    const DISPLAY = `localhost:${port - 6000}`
    const env = { DISPLAY, XAUTHORITY: join(at.cluster.shared, 'authority') }
    exits(await at.cluster.command(['xauth', 'add', DISPLAY, '.', cookie.toString('hex')], { env }), 0)
    const client = ['/usr/bin/bash', '-c', X11_CLIENT]
    for (const more of [[], ['--container-remap-root'], ['--container-unshare=uts']])
      prints(await at.cluster.srun(['--x11', '-n1', image(), HOST_PROGRAMS, ...more, ...client], { env }), [
        'welcome',
      ])
  } finally {
    display.close()
  }
  says(await at.cluster.srun(['--x11', '-n1', image(), 'true']), /DISPLAY/)
})

test.run()
