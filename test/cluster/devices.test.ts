// SPDX-License-Identifier: Apache-2.0
/**
 * Devices of steps with real gres and ConstrainDevices. The GPUs are stand-ins: device nodes with numbers that no
 * driver has, so that access(2) answers and open(2) would not. Driver files are stubs of the right names.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { type Cluster, startCluster } from './cluster.js'
import { must, until } from './command.js'
import { exits, lines, prints, refuses, says, saysNot } from './expect.js'
import { hostRelease, otherRelease, publishImages } from './images.js'
import { leftForGood } from './leftovers.js'
import { startRegistry } from './registry.js'
import { USER_A } from './users.js'

const test = suite('devices')
/** Of local and experimental use (admin-guide/devices.txt): no driver answers. */
const MAJOR = 240
/** Of version 2 Slurm 22.05 needs systemd's leave or a machine of its own. */
const needed = existsSync('/sys/fs/cgroup/devices') ? undefined : 'no version 1 hierarchy of devices'

let cluster: Cluster
let image = ''
let host = ''

/**
 * srun leaves a process behind for a moment (its shepherd). Where the task ends in that moment, slurmstepd 22.05 cannot
 * remove the task's cgroup of devices, and tries it once.
 */
const AFTER_SRUN = `mine=$(grep devices: /proc/self/cgroup)
while for comm in /proc/[0-9]*/comm; do
  { read -r name <$comm; } 2>/dev/null && [ "$name" = srun ] && grep -qsxF "$mine" \${comm%comm}cgroup && break
done; do sleep 0.05; done`

const CDI = (dir: string): string => `cdiVersion: 0.5.0
kind: stand-in.test/gpu
devices:
  - name: "0"
    containerEdits:
      deviceNodes: [{ path: /dev/stand-in0, hostPath: ${dir}/gpu0, type: c, major: ${MAJOR}, minor: 0 }]
  - name: "1"
    containerEdits:
      deviceNodes: [{ path: /dev/stand-in1, hostPath: ${dir}/gpu1, type: c, major: ${MAJOR}, minor: 1 }]
  - name: all
    containerEdits:
      deviceNodes:
        - { path: /dev/stand-in0, hostPath: ${dir}/gpu0 }
        - { path: /dev/stand-in1, hostPath: ${dir}/gpu1 }
containerEdits:
  env: [STAND_IN=yes]
  mounts:
    - { hostPath: ${dir}/driver/usr/lib64/libcuda.so.550.54.15, containerPath: /opt/vendor/lib/libcuda.so.550.54.15, options: [ro, nosuid, nodev, rbind, rprivate] }
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, create-symlinks, --link, "libcuda.so.1::/opt/vendor/lib/libcuda.so"]
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, update-ldcache, --folder, /opt/vendor/lib]
`

const NEWER = (dir: string) => ({
  ...{ cdiVersion: '0.5.0', kind: 'stand-in.test/newer' },
  devices: [
    {
      name: 'x',
      containerEdits: {
        mounts: [{ hostPath: `${dir}/libnewer.so.1`, containerPath: '/opt/newer/libnewer.so.1' }],
        hooks: [
          {
            ...{ hookName: 'createContainer', path: '/usr/bin/nvidia-cdi-hook' },
            args: ['nvidia-cdi-hook', 'update-ldcache', '--folder', '/opt/newer'],
          },
        ],
      },
    },
  ],
})

/** On standard input the state; what it says goes where every user can write. */
const HOOK = (dir: string): string => `#!/bin/sh
state=$(cat)
bundle=$(echo "$state" | sed -n 's/.*"bundle":"\\([^"]*\\)".*/\\1/p' | tee ${dir}/out/$1.bundle)
echo "$1 $(id -u) $WORD" >${dir}/out/$1
case $1 in
poststart) echo "$state" | sed 's/.*"status":"\\([a-z]*\\)","pid":\\([0-9]*\\).*/\\1 \\2/' >${dir}/out/running ;;
createContainer) echo made >$bundle/../root/opt/hooked ;;
fail) echo first; echo "will not" >&2; exit 3 ;;
slow) exec sleep 300 ;;
esac
`

const hookFile = (dir: string, stage: string, word: string, timeout = 60) => ({
  version: '1.0.0',
  hook: { path: `${dir}/allowed/hook`, args: ['hook', word], env: [`WORD=of-${stage}`], timeout },
  when: { always: true },
  stages: [stage],
})

function prepareHooks(dir: string): void {
  for (const name of ['allowed', 'hooks', 'fail', 'slow', 'out']) mkdirSync(join(dir, name))
  chmodSync(join(dir, 'out'), 0o1777)
  writeFileSync(join(dir, 'allowed/hook'), HOOK(dir), { mode: 0o755 })
  const write = (place: string, hook: object) => writeFileSync(join(dir, place), JSON.stringify(hook))
  for (const stage of ['createRuntime', 'createContainer', 'poststart', 'poststop'])
    write(`hooks/${stage}.json`, hookFile(dir, stage, stage))
  const inside = hookFile(dir, 'startContainer', '-c')
  inside.hook.path = '/bin/sh'
  inside.hook.args.push('cat /opt/hooked >/opt/started; id -u >>/opt/started')
  write('hooks/startContainer.json', inside)
  write('fail/x.json', hookFile(dir, 'createRuntime', 'fail'))
  write('slow/x.json', hookFile(dir, 'createRuntime', 'slow', 1))
}

function prepare(dir: string): void {
  host = join(dir, 'stand-ins')
  const libraries = join(host, 'driver/usr/lib64')
  mkdirSync(libraries, { recursive: true })
  mkdirSync(join(host, 'driver/usr/bin'), { recursive: true })
  symlinkSync('libcuda.so.550.54.15', join(libraries, 'libcuda.so.1'))
  writeFileSync(join(host, 'driver/usr/bin/nvidia-smi'), '#!/bin/sh\necho stub of nvidia-smi\n', {
    mode: 0o755,
  })
  mkdirSync(join(host, 'cdi'))
  writeFileSync(join(host, 'cdi/stand-in.yaml'), CDI(host))
  mkdirSync(join(host, 'tmpfs'))
  chmodSync(join(host, 'tmpfs'), 0o1777)
  writeFileSync(join(host, 'slurm.conf'), `ClusterName=x\nTmpFS=${host}/tmpfs\n`)
  prepareHooks(host)
  writeFileSync(join(host, 'cdi/newer.json'), JSON.stringify(NEWER(host)))
  writeFileSync(join(host, 'cdi/broken.json'), '{"cdiVersion": "9.9.9"}')
}

/** A library of the driver's name that answers 7, and a program that asks it. */
async function compileStubs(): Promise<void> {
  const library = join(host, 'driver/usr/lib64/libcuda.so.550.54.15')
  writeFileSync(join(host, 'stub.c'), 'int cuStub(void) { return 7; }\n')
  writeFileSync(
    join(host, 'asks.c'),
    '#include <stdio.h>\nint cuStub(void);\nint main(void) { return printf("stub answers %d\\n", cuStub()) < 0; }\n',
  )
  await must(['cc', '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1', '-o', library, join(host, 'stub.c')])
  await must(['cc', '-o', join(host, 'asks'), join(host, 'asks.c'), library])
  await compileNewer()
}

/** A library that wants a glibc which is not there yet. */
async function compileNewer(): Promise<void> {
  const [libc, script] = [join(host, 'libc.so'), join(host, 'libc.map')]
  writeFileSync(join(host, 'libc.c'), 'int tomorrow(void) { return 1; }\n')
  writeFileSync(script, 'GLIBC_2.99 { tomorrow; };\n')
  writeFileSync(join(host, 'newer.c'), 'int tomorrow(void);\nint newer(void) { return tomorrow(); }\n')
  const shared = ['cc', '-shared', '-fPIC', '-nostdlib']
  const asLibc = ['-Wl,-soname,libc.so.6', `-Wl,--version-script=${script}`]
  await must([...shared, ...asLibc, '-o', libc, join(host, 'libc.c')])
  await must([...shared, '-o', join(host, 'libnewer.so.1'), join(host, 'newer.c'), libc])
}

test.before(async () => {
  if (needed !== undefined) return
  // Where none but root can put files: the node's libraries are read nowhere else.
  const base = `/opt/berth-devices-${process.pid}`
  mkdirSync(base)
  prepare(base)
  await compileStubs()
  for (const minor of [0, 1])
    await must(['mknod', '-m', '666', join(host, `gpu${minor}`), 'c', String(MAJOR), String(minor)])
  cluster = await startCluster({
    nodes: [{}],
    berthConf: [
      `cdi_dirs = ${join(host, 'cdi')}`,
      `driver_root = ${join(host, 'driver')}`,
      `slurm_conf = ${host}/slurm.conf`,
      `hooks_allow = ${host}/allowed/,/bin/sh`,
      ...['hooks', 'fail', 'slow'].flatMap((name) => [`[profile ${name}]`, `hooks = ${join(host, name)}`]),
      '[profile marked]',
      'env_set = MARK=profile',
      'trigger = env USE_MARK',
      '[profile broken]',
      'frob = 1',
      '',
    ].join('\n'),
    slurmConf: ['GresTypes=gpu', `TmpFS=${host}/tmpfs`],
    taskPlugin: 'cgroup',
    nodeConf: 'Gres=gpu:2',
    confFiles: () => ({
      'cgroup.conf': 'CgroupAutomount=no\nIgnoreSystemd=yes\nConstrainDevices=yes\n',
      'gres.conf': `Name=gpu File=${host}/gpu[0-1]\n`,
    }),
  })
  cluster.undo.push('stand-ins', () => rmSync(base, { recursive: true, force: true }))
  image = (await publishImages(await startRegistry(cluster.undo))).debian
})
test.after(async () => {
  if (cluster === undefined) return
  await cluster.stop()
  assert.equal(await leftForGood(cluster.dir), [])
})

const gpus = (options: readonly string[], command: string, count = 1, env: Record<string, string> = {}) =>
  cluster.srun(
    [
      `-n1`,
      `--gres=gpu:${count}`,
      `--container-image=${image}`,
      `--container-mounts=${host}/asks:/asks`,
      ...options,
      'sh',
      '-c',
      command,
    ],
    { env },
  )

test.needs(
  needed,
  'a CDI device brings its node, files, links and variables; another step’s is refused',
  async () => {
    const look =
      'stat -c %t:%T /dev/stand-in0; readlink /opt/vendor/lib/libcuda.so.1 /opt/vendor/lib/libcuda.so; /asks; echo $STAND_IN; test -e /dev/null && ls -d /dev/pts /dev/shm'
    prints(await gpus(['--container-device=stand-in.test/gpu=0'], look), [
      ...['f0:0', 'libcuda.so.550.54.15', 'libcuda.so.1', 'stub answers 7', 'yes', '/dev/pts', '/dev/shm'],
    ])
    refuses(
      await gpus(['--container-device=stand-in.test/gpu=1'], 'true'),
      /stand-in\.test\/gpu=1: was not given to this step/,
    )
    refuses(
      await gpus(['--container-device=stand-in.test/newer=x'], 'true'),
      /newer=x: none of its libraries can be loaded: libnewer\.so\.1 needs glibc 2\.99, the image offers 2\.\d+/,
    )
    refuses(
      await gpus(['--container-device=stand-in.test/gpu=7'], 'true'),
      /in no CDI file.*broken\.json: cdiVersion: unknown version/,
    )
  },
)

test.needs(needed, 'of all devices a step sees its own', async () => {
  const list = 'ls /dev | grep stand-in; echo "gpus $SLURM_STEP_GPUS"'
  const all = ['--container-device=stand-in.test/gpu=all']
  prints(await gpus(all, list), ['stand-in0', 'gpus 0'])
  prints(await gpus(all, list, 2), ['stand-in0', 'stand-in1', 'gpus 0,1'])
  // The device itself is the cgroup's to give: none of it is here, or it is denied.
  says(await gpus(all, 'cat /dev/stand-in0'), /No such device/)
})

test.needs(
  needed,
  'a step with GPUs gets the driver’s files, and masks of the image or the node never mislead it',
  async () => {
    const options = ['--container-env=NVIDIA_VISIBLE_DEVICES']
    const seen = await gpus(options, 'nvidia-smi; /asks; echo $LD_LIBRARY_PATH', 1, {
      NVIDIA_VISIBLE_DEVICES: 'none',
    })
    prints(seen, ['stub of nvidia-smi', 'stub answers 7', '/opt/tool/lib'])
    const without = await cluster.srun([
      '-n1',
      `--container-image=${image}`,
      'sh',
      '-c',
      'ls /usr/local/nvidia',
    ])
    says(without, /No such file/)
  },
)

test.needs(needed, 'PMIx finds its client directory below TmpFS, and no other step’s is there', async () => {
  mkdirSync(join(host, 'tmpfs/of-others'))
  const seen = await gpus(['--mpi=pmix'], `ls ${host}/tmpfs | sed "s/$SLURM_JOB_ID/JOB/"`)
  prints(seen, [`spmix_appdir_${USER_A.uid}_JOB.0`])
})

test.needs(needed, 'profiles by variable and by flag; a broken one fails only who asks for it', async () => {
  prints(await gpus([], 'echo "mark $MARK"', 1, { USE_MARK: '1' }), ['mark profile'])
  prints(await gpus(['--container-profile=marked'], 'echo "mark $MARK"'), ['mark profile'])
  mkdirSync(join(host, 'scratch'))
  prints(
    await gpus(['--container-profile=home,scratch'], 'ls -d "$HOME" "$SCRATCH"', 1, {
      SCRATCH: join(host, 'scratch'),
    }),
    [`/home/${USER_A.name}`, join(host, 'scratch')],
  )
  refuses(
    await gpus(['--container-profile=broken'], 'true'),
    /profile broken: .*berth\.conf:15: frob: unknown key/,
  )
})

test.needs(
  needed,
  'profile slurm: srun and squeue work inside, and start steps of the same job',
  async () => {
    const release = '. /etc/os-release; echo $VERSION_CODENAME'
    const inside = [
      'squeue -h -o %i -j $SLURM_JOB_ID',
      `srun --overlap -n1 --container-image=none sh -c '${release}'`,
      `srun --overlap -n1 sh -c '${release}'`,
      AFTER_SRUN,
    ].join(' && ')
    const options = ['--container-profile=slurm', `--container-mounts=${cluster.dir}`]
    const seen = await gpus(options, inside)
    const [job, ...releases] = lines(seen)
    assert.match(job ?? '', /^\d+$/)
    assert.equal(releases, [hostRelease(), otherRelease()])
  },
)

test.needs(
  needed,
  'hooks that the site allows run as the user: around the container, in it, and after it; others fail the step',
  async () => {
    const with_ = (profile: string, command = 'true', more: string[] = []) =>
      gpus([`--container-profile=${profile}`, '--container-writable', ...more], command)
    const uid = String(USER_A.uid)
    const started = `while [ ! -s ${host}/out/running ]; do sleep 0.1; done; cat ${host}/out/running`
    const seen = exits(
      await with_('hooks', `cat /opt/started; echo $$; ${started}`, [`--container-mounts=${host}/out`]),
      0,
    )
    const [made, by, pid, running] = lines(seen)
    assert.equal([made, by, running], ['made', uid, `running ${pid}`])
    const out = (name: string) => readFileSync(join(host, 'out', name), 'utf8').trim()
    for (const stage of ['createRuntime', 'createContainer']) {
      assert.is(out(stage), `${stage} ${uid} of-${stage}`)
      assert.match(out(`${stage}.bundle`), /^\/.+\/work$/)
    }
    await until('the poststop hook', () => existsSync(join(host, 'out/poststop')))
    refuses(await with_('fail'), /createRuntime hook .*allowed\/hook fail: exit code 3; it said: .*will not/)
    refuses(await with_('slow'), /hook slow: it was not done after 1 s; it said: nothing/)
  },
)

test.needs(
  needed,
  'poststop hooks of a container whose worker was killed are run by the next one',
  async () => {
    const [node] = cluster.nodes
    const done = join(host, 'out/poststop')
    rmSync(done, { force: true })
    const wait = `echo ready; while [ ! -e ${host}/out/go ]; do sleep 0.1; done`
    const options = ['--container-profile=hooks', '--container-writable', `--container-mounts=${host}/out`]
    const step = cluster.start(['srun', '-n1', `--container-image=${image}`, ...options, 'sh', '-c', wait])
    await step.sees(/ready/)
    process.kill(node?.workerPid() ?? 0, 'SIGKILL')
    // Another worker, which finds the first step alive.
    prints(await gpus([], 'echo another', 0), ['another'])
    assert.not(existsSync(done))
    writeFileSync(join(host, 'out/go'), '')
    exits(await step.done, 0)
    const said = () => (existsSync(done) ? readFileSync(done, 'utf8') : '')
    await until('the poststop hook', () => said() !== '')
    assert.is(said(), `poststop ${USER_A.uid} of-poststop\n`)
  },
)

test.needs(needed, 'the plan names each edit’s reason', async () => {
  const plan = exits(await gpus(['--container-explain', '--container-device=stand-in.test/gpu=0'], 'true'), 0)
  const { berth } = JSON.parse(plan.stdout)
  const mount = berth.mounts.find(
    ({ destination }: { destination: string }) => destination === '/dev/stand-in0',
  )
  assert.match(mount.reason, /device: stand-in\.test\/gpu=0 of .*stand-in\.yaml/)
  saysNot(plan, /undefined/)
})

test.needs(
  needed,
  'berth doctor gpu in a step tells what it has, what is wrong, and what an image gets',
  async () => {
    const [node] = cluster.nodes
    // Beside the plugin, where users can run it.
    const [, plugin = ''] = readFileSync(join(cluster.dir, 'plugstack.conf'), 'utf8').split(' ')
    const berth = join(dirname(plugin), 'bin/berth.js')
    const doctor = (...words: string[]) => {
      const places = [`--runtime-dir=${node?.runtimeDir}`, `--config=${join(cluster.dir, 'berth.conf')}`]
      return cluster.srun(['-n1', '--gres=gpu:1', berth, 'doctor', 'gpu', ...words, ...places])
    }
    const seen = exits(await doctor(image, '--device=stand-in.test/gpu=0', '--mount-home'), 3)
    says(seen, /ok +CDI +.*stand-in\.test\/gpu=0, /)
    says(seen, /fail +CDI +.*broken\.json: cdiVersion: unknown version/)
    says(seen, /fail +profile +.*berth\.conf:15: frob: unknown key/)
    says(seen, /ok +step +SLURM_STEP_GPUS=0/)
    says(seen, /ok +image +NVIDIA driver|ok +image /)
    says(
      await doctor(image, '--device=stand-in.test/gpu=1'),
      /fail +image +device stand-in\.test\/gpu=1: was not given/,
    )
  },
)

test.run()
