// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: environment files spell variables this way
import assert from 'node:assert/strict'
import { BerthError } from '../../src/report/errors.js'
import { edfPlaces, type RenderedEdf, renderEdf } from '../../src/request/edf_render.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite('environment files')

const HOME = '/home/ada/.edf'

interface Given {
  environment?: Record<string, string>
  systemPath?: string[]
  annotations?: string[]
}

/** Files by path; a short name stands in ~/.edf. */
function render(name: string, files: Record<string, string>, given: Given = {}): RenderedEdf {
  const byPath = new Map(
    Object.entries(files).map(([path, text]) => [path.startsWith('/') ? path : `${HOME}/${path}.toml`, text]),
  )
  return renderEdf(name, {
    environment: new Map(Object.entries({ HOME: '/home/ada', USER: 'ada', EMPTY: '', ...given.environment })),
    cwd: '/work/run',
    systemPath: given.systemPath ?? [],
    annotations: new Set(given.annotations ?? []),
    read: (path) => byPath.get(path),
  })
}

function refused(text: string, problem: string): void {
  refuses(() => render('x', { x: text }), 'BERTH_EEDF', problem)
}

test('every key, as it is written in the documentation of the Container Engine', () => {
  const { edf, notes } = render('x', {
    x: `image = "nvcr.io#nvidia/pytorch:22.12-py3"
workdir = "/work"
entrypoint = false
writable = true
mounts = ["/scratch/\${USER}:/scratch", "/data"]
devices = ["nvidia.com/gpu=all", "/dev/fuse"]

[env]
MY_RUN = "production"
GONE = ""

[annotations]
com.hooks.cxi.enabled = "false"

[annotations.com.pyxis]
entrypoint_log = true
`,
  })
  assert.deepEqual(edf, {
    version: 1,
    name: 'x',
    file: `${HOME}/x.toml`,
    image: 'nvcr.io#nvidia/pytorch:22.12-py3',
    workdir: '/work',
    entrypoint: false,
    writable: true,
    mounts: ['/scratch/ada:/scratch', '/data:/data', '/dev/fuse:/dev/fuse'],
    devices: ['nvidia.com/gpu=all'],
    env: { MY_RUN: 'production', GONE: null },
    annotations: { 'com.hooks.cxi.enabled': 'false', 'com.pyxis.entrypoint_log': 'true' },
  })
  assert.deepEqual(notes, [])
})

test('names are looked for in EDF_PATH, else ~/.edf, then where the site says; paths are taken as they are', () => {
  const places = (name: string, environment: Record<string, string>): string[] =>
    edfPlaces(name, {
      environment: new Map(Object.entries(environment)),
      cwd: '/here',
      systemPath: ['/etc/edf'],
    })
  assert.deepEqual(places('a', { HOME: '/h' }), ['/h/.edf/a.toml', '/etc/edf/a.toml'])
  assert.deepEqual(places('a', { HOME: '/h', EDF_PATH: '/p:relative:/q' }), [
    '/p/a.toml',
    '/q/a.toml',
    '/etc/edf/a.toml',
  ])
  assert.deepEqual(places('a', {}), ['/etc/edf/a.toml'])
  assert.deepEqual(places('./a.toml', {}), ['/here/a.toml'])
  assert.deepEqual(places('a.toml', {}), ['/here/a.toml'])
  assert.deepEqual(places('/x/a', {}), ['/x/a'])
})

test('a name that is nowhere names the places', () => {
  refuses(
    () => render('nope', {}, { systemPath: ['/etc/edf'] }),
    'BERTH_EEDFNAME',
    'environment nope is not in /home/ada/.edf/nope.toml, /etc/edf/nope.toml',
  )
  refuses(
    () => renderEdf('x', { environment: new Map(), cwd: '/', systemPath: [], read: () => undefined }),
    'BERTH_EEDFNAME',
    'environment x is not in any directory: EDF_PATH and HOME are not set',
  )
})

test('bases in order, later ones and the file itself over earlier ones; mounts and env add up', () => {
  const { edf } = render('top', {
    top: 'base_environment = ["one", "two"]\nmounts = ["/c"]\n[env]\nB = "top"\nC = ""',
    one: 'image = "a"\nworkdir = "/one"\nwritable = false\nmounts = ["/a"]\n[env]\nA = "one"\nB = "one"',
    two: 'base_environment = "deep"\nimage = "b"\nmounts = ["/b"]\n[env]\nC = "two"',
    deep: 'workdir = "/deep"\nimage = "d"',
  })
  assert.equal(edf.image, 'b')
  assert.equal(edf.workdir, '/deep')
  assert.equal(edf.writable, false)
  assert.deepEqual(edf.mounts, ['/a:/a', '/b:/b', '/c:/c'])
  assert.deepEqual(edf.env, { A: 'one', B: 'top', C: null })
})

test('ten levels of bases, no more, and no circle', () => {
  const chain = (length: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length }, (_, index) => [
        `e${index}`,
        index === length - 1 ? 'image = "x"' : `base_environment = "e${index + 1}"`,
      ]),
    )
  assert.equal(render('e0', chain(11)).edf.image, 'x')
  refuses(() => render('e0', chain(12)), 'BERTH_EEDF', 'e11.toml:1: more than 10 levels of base_environment')
  refuses(
    () => render('a', { a: 'base_environment = "b"', b: 'base_environment = "a"' }),
    'BERTH_EEDF',
    `environment file ${HOME}/a.toml: is a base_environment of itself`,
  )
  const wide = Object.fromEntries(
    Array.from({ length: 11 }, (_, index) => [
      `e${index}`,
      index === 10 ? 'image = "x"' : `base_environment = ["e${index + 1}", "e${index + 1}", "e${index + 1}"]`,
    ]),
  )
  refuses(() => render('e0', wide), 'BERTH_EEDF', 'more than 200 files in base_environment')
})

test('variables: set, with a default, escaped, missing', () => {
  const value = (text: string): string | null | undefined =>
    render('x', { x: `image = "i"\n[env]\nV = '${text}'` }).edf.env.V
  assert.equal(value('a${USER}b'), 'aadab')
  assert.equal(value('$${USER} $USER 5$'), '${USER} $USER 5$')
  assert.equal(value('${NOPE:-x}'), 'x')
  assert.equal(value('${EMPTY:-x}'), 'x')
  assert.equal(value('${NOPE:-}'), null)
  assert.equal(value('${EMPTY}'), null)
  refused(
    'image = "i"\n[env]\nA = "1"\nB = "${A}"',
    'x.toml:4: "env.B": variable A is not set; ${A:-} allows that',
  )
  refused('image = "${A B}"', 'x.toml:1: "image": malformed variable ${A B}')
  refused('image = "${A"', '"image": malformed variable ${A')
})

test('paths that start with a dot count from where the job is submitted', () => {
  const { edf } = render('x', {
    x: 'image = "./img.sqsh"\nworkdir = "./sub"\nmounts = ["./in:/in:ro", "../data:./out", "tmpfs:/t"]',
  })
  assert.equal(edf.image, '/work/run/img.sqsh')
  assert.equal(edf.workdir, '/work/run/sub')
  assert.deepEqual(edf.mounts, ['/work/run/in:/in:ro', '/work/data:/work/run/out', 'tmpfs:/t'])
})

test('an unknown key is refused with file, line and key', () => {
  refused(
    'image = "i"\n\nimgae = "x"\n',
    `environment file ${HOME}/x.toml:3: unknown key "imgae" (known: base_environment, image, workdir, entrypoint, writable, engine, mounts, devices, env, annotations)`,
  )
  refused('image = "i"\n[envs]\nA = "1"', 'x.toml:2: unknown key "envs"')
})

test('a value of another type is refused with its line', () => {
  refused('image = 5', 'x.toml:1: "image" must be a string')
  refused('image = "i"\nwritable = "yes"', 'x.toml:2: "writable" must be true or false')
  refused('image = "i"\nmounts = "/a:/b"', 'x.toml:2: "mounts" must be a list of strings')
  refused('image = "i"\nmounts = [1]', 'x.toml:2: "mounts" must be a list of strings')
  refused('image = "i"\n[env]\nA = 1', 'x.toml:3: "env.A" must be a string')
  refused('image = "i"\n[env]\n"A B" = "1"', 'x.toml:3: "A B" cannot name a variable')
  refused('image = "i"\nenv = "A=1"', 'x.toml:2: "env" must be a table: [env]')
  refused('image = "i"\n[annotations]\na.b = [1]', 'x.toml:3: "annotations.a.b" must be a string')
})

test('text that is no TOML is refused with its line', () => {
  refused('image = "i"\n[env]\nA = "1",\n', 'x.toml:3: no TOML: ')
})

test('a mount that is none, and a control character, are refused', () => {
  refused('image = "i"\nmounts = [":/a"]', 'x.toml:2: mount ":/a" is not SOURCE:DESTINATION[:FLAGS]')
  refused('image = "i"\nmounts = ["/a:/b:ro:x"]', 'is not SOURCE:DESTINATION[:FLAGS]')
  refused(
    'image = "i"\nmounts = ["/a.sqsh:/b:sqsh"]',
    'squashfs files cannot be mounted into a container here',
  )
  refused('image = "a\\nb"', '"image" contains a control character')
})

test('a file without an image is refused, an empty image is no container', () => {
  refused('workdir = "/"', 'names no image, nor does a base_environment')
  assert.equal(render('x', { x: 'image = ""' }).edf.image, '')
})

test('what has no effect here is said once, at submit', () => {
  const { notes } = render('x', {
    x: `image = "i"
perfmon = true
[annotations]
com.hooks.ssh.enabled = "true"
com.hooks.cxi.enabled = false
com.hooks.aws_ofi_nccl.variant = "cuda12"
org.mine = "x"
`,
  })
  assert.deepEqual(
    notes.map((note) => note.replace(`${HOME}/`, '')),
    [
      'x.toml:2: key perfmon has no effect here',
      'x.toml:4: annotation com.hooks.ssh.enabled has no effect: no ssh server is started; `srun --overlap --jobid=JOBID` opens a shell beside the program',
      'x.toml:6: annotation com.hooks.aws_ofi_nccl.variant has no effect: --container-profile names what the site offers; NCCL plugins can be mounted',
      'x.toml:7: annotation org.mine is not known here and has no effect',
    ],
  )
})

test('an annotation that a profile of the site looks at has an effect', () => {
  const name = 'com.hooks.cxi.enabled'
  const { edf, notes } = render(
    'x',
    { x: `image = "i"\n[annotations]\n${name} = "true"\n` },
    { annotations: [name] },
  )
  assert.deepEqual([edf.annotations[name], notes], ['true', []])
})

test('a file that cannot be read says why', () => {
  const read = (): string => {
    throw new Error('it is no regular file')
  }
  refuses(
    () => renderEdf('/x.toml', { environment: new Map(), cwd: '/', systemPath: [], read }),
    'BERTH_EEDF',
    'environment file /x.toml: cannot be read: it is no regular file',
  )
})

test('no text makes a file fail in another way than by an error for users', () => {
  const words = [
    'image',
    'env',
    'mounts',
    'annotations',
    'base_environment',
    'x',
    '"a"',
    "'b'",
    '[',
    ']',
    '{',
  ]
  const more = [
    '}',
    '=',
    '.',
    ',',
    '\n',
    '#',
    '"""',
    '${',
    '${HOME}',
    '$$',
    ':-',
    '1',
    'true',
    '\0',
    '\\u0000',
  ]
  const alphabet = [...words, ...more, ' ']
  let seed = 77
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return seed % below
  }
  for (let round = 0; round < 4000; round++) {
    const text = Array.from({ length: random(30) }, () => alphabet[random(alphabet.length)]).join('')
    try {
      render('x', { x: round % 2 === 0 ? text : `image = "i"\n${text}` })
    } catch (error) {
      assert.ok(error instanceof BerthError, `${JSON.stringify(text)}: ${error}`)
      assert.doesNotMatch(error.message, /[\0\n]/, JSON.stringify(text))
    }
  }
})

test.run()
