// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: credentials spell variables this way
/** The user's own side of credentials: helpers of docker, and enroot's values with variables and commands. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { CommandError, splitCommand } from '../../src/image/command_line.js'
import { describeDocuments, findCredential } from '../../src/image/credentials.js'
import { expand, findLogin } from '../../src/image/login.js'
import { endPrograms, runPipeline } from '../../src/image/own_program.js'
import { suite } from '../suite.js'

const test = suite('own logins')
const home = mkdtempSync(join(tmpdir(), 'berth-login-'))
const env = { HOME: home, PATH: `${home}/bin:/usr/bin:/bin`, REGION: 'eu west' }
const me = { env, uid: 61_299, home: undefined }
test.after(() => rmSync(home, { recursive: true, force: true }))

function put(path: string, text: string, mode = 0o600): void {
  mkdirSync(join(home, path, '..'), { recursive: true })
  writeFileSync(join(home, path), text)
  chmodSync(join(home, path), mode)
}

const argvs = (text: string) => splitCommand(text, env).map(({ argv }) => argv)

function refusal(text: string): string {
  try {
    splitCommand(text, env)
  } catch (error) {
    assert.instance(error, CommandError)
    return (error as Error).message
  }
  throw new Error(`${text} was taken`)
}

test('commands are split as a shell would, without one', () => {
  assert.equal(argvs('aws ecr get-login-password --region eu-west-2'), [
    ['aws', 'ecr', 'get-login-password', '--region', 'eu-west-2'],
  ])
  assert.equal(argvs(`jq -c '.' $HOME/key | sed 's/ /\\\\u0020/g' 2>/dev/null`), [
    ['jq', '-c', '.', `${home}/key`],
    ['sed', 's/ /\\\\u0020/g'],
  ])
  assert.equal(argvs(`az login --query accessToken | tr -d '"'`)[1], ['tr', '-d', '"'])
  assert.equal(argvs('cat ~/token "a $REGION" a\\ b "" x$UNSET'), [
    ['cat', `${home}/token`, 'a eu west', 'a b', '', 'x'],
  ])
  assert.equal(splitCommand('A=1 B="2 3" get A=4', env), [
    { argv: ['get', 'A=4'], env: { A: '1', B: '2 3' } },
  ])
})

test('what only a shell could do is refused by its sign', () => {
  const cases: [string, RegExp][] = [
    ['a; b', /^;/],
    ['a && b', /^&/],
    ['a || b', /^\|\|/],
    ['a > /etc/x', /^>/],
    ['a < x', /^</],
    ['a `b`', /^`/],
    ['a "$(b)"', /within a command/],
    ['a $(b)', /^\$\(/],
    ['a *.txt', /^\*/],
    ['a {b,c}', /^\{/],
    ["a 'b", /not closed/],
    ['', /missing/],
    ['a | ', /missing/],
    ['X=1', /missing/],
  ]
  for (const [text, pattern] of cases) assert.match(refusal(text), pattern, text)
})

test('values: variables that are set, commands, and names that only look like variables', async () => {
  assert.is(await expand('$oauthtoken', env), '$oauthtoken')
  assert.is(await expand('a-$REGION-${REGION}', env), 'a-eu west-eu west')
  assert.is(await expand("$(printf '%s' 'tok)en' | tr a-z A-Z)!", env), 'TOK)EN!')
  const problem = async (text: string) => (await expand(text, env).catch((error: Error) => error)).toString()
  assert.match(await problem('${NOPE}'), 'is not set')
  assert.match(await problem('$(no-such-program-here)'), /no-such-program-here cannot be run \(ENOENT\)/)
  assert.match(await problem('$(cat /no/such/file)'), /cat ended with status 1: cat: \/no\/such\/file/)
  assert.match(await problem('$(true)'), 'printed nothing')
})

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let round = 0; !holds(); round++) {
    if (round > 3000) throw new Error(`waited for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('a helper that hangs or floods is ended, with what it started', async () => {
  const mark = join(home, 'mark')
  const pid = () => (existsSync(mark) ? readFileSync(mark, 'utf8').trim() : '')
  const hang = { argv: ['sh', '-c', `sleep 600 & echo $! > ${mark}; wait`], env: {} }
  const ended = runPipeline([hang], env)
  await until('the helper', () => pid() !== '')
  endPrograms()
  assert.match((await ended).problem, 'was ended by SIGKILL')
  await until('its end', () => !existsSync(`/proc/${pid()}/exe`))
  const slow = await runPipeline([{ argv: ['sleep', '600'], env: {} }], env, '', 300)
  assert.match(slow.problem, 'gave no answer')
  const flood = await runPipeline([{ argv: ['cat', '/dev/zero'], env: {} }], env)
  assert.match(flood.problem, 'printed more than')
})

test('docker: the helper of the host, then the store of all, then the file', async () => {
  const helper = (name: string, body: string) =>
    put(`bin/docker-credential-${name}`, `#!/bin/sh\nread server\n${body}\n`, 0o755)
  helper(
    'lab',
    '[ "$1 $server" = "get a.lab:5000" ] && echo \'{"ServerURL":"a","Username":"ann","Secret":"s:1"}\'',
  )
  helper(
    'all',
    'case $server in b.lab) echo \'{"Username":"<token>","Secret":"refresh"}\';; https://index.docker.io/v1/) echo \'{"Username":"hub","Secret":"2"}\';; *) echo credentials not found in native keychain; exit 1;; esac',
  )
  helper('sick', 'echo "vault is sealed"; exit 2')
  const config = {
    credHelpers: { 'a.lab:5000': 'lab', 'c.lab': 'sick', 'd.lab': '../evil', 'e.lab': 'absent' },
    credsStore: 'all',
    auths: { 'c.lab': { auth: Buffer.from('file:3').toString('base64') }, 'a.lab:5000': {} },
  }
  put('.docker/config.json', JSON.stringify(config))
  const find = (host: string) => findLogin({ host, repository: 'x/y' }, me)
  assert.equal((await find('a.lab:5000')).credential, { username: 'ann', password: 's:1' })
  assert.is((await find('b.lab')).credential?.identityToken, 'refresh')
  assert.is((await find('docker.io')).credential?.username, 'hub')
  const sick = await find('c.lab')
  assert.is(sick.credential?.username, 'file')
  assert.equal(sick.problems, ['docker-credential-sick: ended with status 2: vault is sealed'])
  assert.equal((await find('d.lab')).problems, ['docker-credential-../evil: is no name of a helper'])
  const absent = await find('e.lab')
  assert.equal(absent.problems, ['docker-credential-absent: cannot be run (ENOENT)'])
  assert.is(absent.credential, undefined)
  assert.equal((await find('f.lab')).problems, [])
})

test('enroot: ENROOT_CONFIG_PATH, a command for a password, USER@, and what fails is told', async () => {
  put('secret', 'from a file\n')
  put(
    'enroot/.credentials',
    [
      '# clouds',
      'machine ecr.lab login AWS password $(cat ~/secret | tr a-z A-Z)',
      'machine two.lab login one password 1',
      'machine two.lab login $WHO password $(printf "%s" "a b")',
      'machine bad.lab login u password $(cat x; cat y)',
      '',
    ].join('\n'),
  )
  const own = { ...me, env: { ...env, ENROOT_CONFIG_PATH: join(home, 'enroot'), WHO: 'two' } }
  const find = (host: string, user?: string) => findLogin({ host, repository: 'x', user }, own)
  assert.equal((await find('ecr.lab:443')).credential, { username: 'AWS', password: 'FROM A FILE' })
  assert.is((await find('two.lab')).credential?.username, 'one')
  assert.equal((await find('two.lab', 'two')).credential, { username: 'two', password: 'a b' })
  const [problem = ''] = (await find('bad.lab')).problems
  assert.match(problem, /enroot\/\.credentials, machine bad\.lab: ; is not understood/)
})

test('an answer counts for its own registry, and an unexpanded value is never sent', () => {
  const answer = {
    host: 'a.lab',
    repository: 'x',
    credential: { username: 'u', password: 'p' },
    problems: ['why'],
  }
  const documents = [
    { path: '', kind: 'answer' as const, text: JSON.stringify(answer) },
    { path: '/h/.credentials', kind: 'netrc' as const, text: 'machine m.lab login u password $(secret)' },
    { path: '', kind: 'answer' as const, text: '{"host":' },
  ]
  assert.is(findCredential(documents, 'a.lab', 'x')?.password, 'p')
  assert.is(findCredential(documents, 'b.lab', 'x'), undefined)
  assert.is(findCredential(documents, 'm.lab', 'x'), undefined)
  assert.is(describeDocuments(documents), '/h/.credentials; why')
})

test.run()
