// SPDX-License-Identifier: Apache-2.0
/** What the kernel must offer, and the knobs that distributions turn off. */
import { readFile } from 'node:fs/promises'
import type { KernelFeatures } from '../native.js'
import type { Finding } from './doctor.js'

interface Feature {
  name: keyof KernelFeatures
  check: string
  /** Without it nothing works; else there is a slower or weaker way. */
  needed: boolean
  /** It cannot be tried without these. */
  after?: readonly (keyof KernelFeatures)[]
  /** Found out by a mount or a namespace, which is tried as root would: another user's failure says nothing. */
  byRoot: boolean
  present: string
  absent: string
  fix: string
}

/** As hardening guides do (CIS names squashfs); modprobe says nothing but "invoked /bin/false" then. */
const FORBIDDEN = 'if that fails, take away the line that forbids it in /etc/modprobe.d'
const NAMESPACE_LIMIT =
  'sysctl user.max_user_namespaces=65536, and the same in /etc/sysctl.d for the next boot'

const FEATURES: readonly Feature[] = [
  {
    name: 'mountApi',
    check: 'mount API',
    needed: true,
    byRoot: true,
    present: 'fsmount, move_mount, mount_setattr',
    absent: 'fsmount or mount_setattr is missing',
    fix: 'use Linux 5.12 or later',
  },
  {
    name: 'loop',
    check: 'loop devices',
    needed: true,
    byRoot: true,
    present: 'available',
    absent: '/dev/loop-control cannot be used',
    after: ['mountApi'],
    fix: `modprobe loop; ${FORBIDDEN}`,
  },
  {
    name: 'squashfs',
    check: 'squashfs',
    needed: true,
    byRoot: true,
    present: 'available',
    absent: 'not available',
    after: ['mountApi', 'loop'],
    fix: `modprobe squashfs; ${FORBIDDEN}`,
  },
  {
    name: 'overlay',
    check: 'overlay',
    needed: true,
    byRoot: true,
    present: 'available',
    absent: 'not available',
    fix: `modprobe overlay; ${FORBIDDEN}`,
  },
  {
    name: 'userNamespaces',
    check: 'user namespaces',
    needed: true,
    byRoot: true,
    present: 'available',
    absent: 'cannot be made',
    after: ['mountApi', 'loop', 'squashfs', 'overlay'],
    fix: NAMESPACE_LIMIT,
  },
  {
    name: 'squashfsIdmap',
    check: 'idmapped squashfs',
    needed: false,
    byRoot: true,
    present: "root's files in images appear as the user's",
    absent: "files keep the image's owners",
    after: ['mountApi', 'loop', 'squashfs', 'overlay', 'userNamespaces'],
    fix: 'use Linux 6.2 or later',
  },
  {
    name: 'landlock',
    check: 'landlock',
    needed: false,
    byRoot: false,
    present: 'the importer is confined',
    absent: 'the importer is confined by its uid only',
    fix: 'use Linux 5.13 or later with landlock among its security modules',
  },
  {
    name: 'pidfd',
    check: 'pidfd',
    needed: true,
    byRoot: false,
    present: 'available',
    absent: 'not available',
    fix: 'use Linux 5.3 or later',
  },
]

const NOT_TRIED: Finding = {
  check: 'mounts',
  state: 'warn',
  found: 'not tried: squashfs, overlay, loop devices and namespaces are for root to try',
  fix: 'run it as root on this node',
}

interface Knob {
  path: string
  check: string
  /** True when the value lets users' namespaces be made. */
  fits(value: number): boolean
  fix: string
}

const KNOBS: readonly Knob[] = [
  {
    path: '/proc/sys/user/max_user_namespaces',
    check: 'namespace limit',
    fits: (value) => value > 0,
    fix: NAMESPACE_LIMIT,
  },
  {
    path: '/proc/sys/kernel/unprivileged_userns_clone',
    check: 'userns switch',
    fits: (value) => value === 1,
    fix: 'sysctl kernel.unprivileged_userns_clone=1',
  },
  {
    path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    check: 'userns AppArmor',
    fits: (value) => value === 0,
    fix: 'sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give berth-worker an AppArmor profile with userns',
  },
]

export async function checkKernel(): Promise<Finding[]> {
  const features = await loadFeatures()
  if (features instanceof Error) {
    const library = /(lib\S+?): cannot open shared object/.exec(features.message)?.[1]
    const fix =
      library === undefined
        ? 'run `npm run build:addon` with the Node.js that dist/node names'
        : `install the package of this system that has ${library}, as on the machine of the build`
    return [{ check: 'addon', state: 'fail', found: features.message, fix }]
  }
  const knobs = await Promise.all(KNOBS.map(checkKnob))
  const isRoot = process.getuid?.() === 0
  return [
    { check: 'kernel', state: 'ok', found: features.release },
    ...(isRoot ? [] : [NOT_TRIED]),
    ...checkFeatures(features, isRoot),
    ...knobs.filter((finding) => finding !== undefined),
  ]
}

async function loadFeatures(): Promise<KernelFeatures | Error> {
  try {
    return (await import('../native.js')).native.kernelFeatures()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** Pure part: what cannot be tried without another is not called missing. */
export function checkFeatures(features: KernelFeatures, isRoot: boolean): Finding[] {
  return FEATURES.filter(({ byRoot }) => isRoot || !byRoot).map((feature) => checkFeature(feature, features))
}

function checkFeature(feature: Feature, features: KernelFeatures): Finding {
  const { check, needed, present, absent, fix, after = [] } = feature
  const lacking = FEATURES.find(({ name }) => after.includes(name) && !features[name])
  if (lacking !== undefined)
    return { check, state: 'warn', found: `not tried without ${lacking.check}`, fix: 'mend that first' }
  if (features[feature.name]) return { check, state: 'ok', found: present }
  return { check, state: needed ? 'fail' : 'warn', found: absent, fix }
}

/** A knob that this kernel does not have restricts nothing. */
async function checkKnob({ path, check, fits, fix }: Knob): Promise<Finding | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const found = `${path} = ${text.trim()}`
  return fits(Number(text)) ? { check, state: 'ok', found } : { check, state: 'fail', found, fix }
}
