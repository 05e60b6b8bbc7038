// SPDX-License-Identifier: Apache-2.0
/** The importer's cage, tried from inside by a Node process that has all its threads running. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { ADDON, loadNative, missing } from '../ns/lab.js'

const test = suite('sandbox')
const needs = missing()
const folder = fs.mkdtempSync(join(tmpdir(), 'berth-sandbox-'))
const NOBODY = 65_534
/** Node's own needs while it runs: its program, its libraries, /proc for memory figures. */
const READ = ['/usr', '/lib', '/lib64', '/etc', '/proc', process.execPath]

test.after(() => fs.rmSync(folder, { recursive: true, force: true }))
test.before(() => {
  fs.chmodSync(folder, 0o777)
  fs.writeFileSync(join(folder, 'outside'), 'x', { mode: 0o666 })
})

/** Runs each attempt in the sandbox as nobody; answers "ok" or the error's code by name. */
function attempt(attempts: Record<string, string>, network = true): Record<string, string> {
  const addon = join(folder, 'berth.node')
  fs.copyFileSync(ADDON, addon)
  const script = `
    const fs = require('fs'), cp = require('child_process'), net = require('net'), fsp = fs.promises
    const folder = ${JSON.stringify(folder)}
    const rejects = (emitter, event) => new Promise((y, n) => emitter.on('error', n).on(event, y))
    ;(async () => {
      await fsp.readFile('/etc/hosts') // starts libuv's pool
      const out = fs.openSync(folder + '/out', 'w')
      process.setgroups([]); process.setgid(${NOBODY}); process.setuid(${NOBODY})
      require(${JSON.stringify(addon)}).sandbox({ read: ${JSON.stringify(READ)}, fileSizeMax: 65536, network: ${network} })
      const results = {}
      const attempts = {${Object.entries(attempts).map(([name, body]) => `${JSON.stringify(name)}: async () => ${body}`)}}
      for (const [name, run] of Object.entries(attempts))
        results[name] = await run().then((v) => typeof v === 'string' ? v : 'ok', (e) => e.code ?? e.message)
      fs.writeSync(1, JSON.stringify(results)); process.exit(0)
    })()`
  const done = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 60_000 })
  assert.is(done.status, 0, done.stderr)
  return JSON.parse(done.stdout)
}

test.needs(needs, 'only the given directories can be read, by any thread', () => {
  const results = attempt({
    etc: `fs.readFileSync('/etc/hosts')`,
    outside: `fs.readFileSync(folder + '/outside')`,
    pool: `Promise.all(Array.from({ length: 8 }, () => fsp.readFile(folder + '/outside')))`,
    list: `fs.readdirSync(folder)`,
  })
  const denied = loadNative().kernelFeatures().landlock ? 'EACCES' : 'ok'
  assert.equal(results, { etc: 'ok', outside: denied, pool: denied, list: denied })
})

test.needs(needs, 'nothing can be written but what is open, and that only up to its limit', () => {
  const results = attempt({
    create: `fs.writeFileSync(folder + '/new', 'x')`,
    change: `fs.appendFileSync(folder + '/outside', 'x')`,
    pool: `fsp.writeFile(folder + '/new', 'x')`,
    mkdir: `fs.mkdirSync(folder + '/dir')`,
    remove: `fs.unlinkSync(folder + '/outside')`,
    rename: `fs.renameSync(folder + '/outside', folder + '/x')`,
    chmod: `fs.chmodSync(folder + '/out', 0o777)`,
    truncate: `fs.truncateSync(folder + '/outside', 0)`,
    open: `void fs.writeSync(out, 'x')`,
    tooMuch: `void fs.writeSync(out, 'x', 70000)`,
  })
  const { open, tooMuch, ...refused } = results
  assert.is(open, 'ok')
  assert.is(tooMuch, 'EFBIG')
  for (const [name, code] of Object.entries(refused))
    assert.ok(['EPERM', 'EACCES'].includes(code), `${name}: ${code}`)
})

test.needs(needs, 'no program, no signal to others, no unix socket, no listening', () => {
  const results = attempt({
    exec: `new Promise((y, n) => cp.spawn('/bin/true').on('error', n).on('exit', y))`,
    signal: `process.kill(1, 0)`,
    own: `process.kill(process.pid, 0)`,
    unix: `rejects(net.connect('/run/any.sock'), 'connect')`,
    listen: `rejects(net.createServer().listen(0, '127.0.0.1'), 'listening')`,
    tcp: `rejects(net.connect(1, '127.0.0.1'), 'connect')`,
  })
  assert.is(results.exec, 'EPERM')
  assert.is(results.signal, 'EPERM')
  assert.is(results.own, 'ok')
  assert.is(results.unix, 'EPERM')
  assert.ok(['EPERM', 'EACCES'].includes(results.listen ?? ''))
  assert.is(results.tcp, 'ECONNREFUSED')
})

test.needs(needs, 'without network nothing connects', () => {
  assert.equal(attempt({ tcp: `rejects(net.connect(1, '127.0.0.1'), 'connect')` }, false), { tcp: 'EPERM' })
})

test.needs(needs, 'every thread is filtered and has no capability; new ones can still start', () => {
  const field = (name: string) => `[...new Set(fs.readdirSync('/proc/self/task').map((t) =>
    fs.readFileSync('/proc/self/task/' + t + '/status', 'utf8').match(/${name}:\\s+(\\w+)/)[1]))].join()`
  const results = attempt({
    seccomp: field('Seccomp'),
    privileges: field('NoNewPrivs'),
    capabilities: field('CapPrm'),
    thread: `new Promise((y, n) => new (require('worker_threads').Worker)('', { eval: true }).on('error', n).on('exit', y))`,
  })
  const none = '0'.repeat(16)
  assert.equal(results, { seccomp: '2', privileges: '1', capabilities: none, thread: 'ok' })
})

test.run()
