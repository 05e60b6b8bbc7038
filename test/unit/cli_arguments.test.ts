// SPDX-License-Identifier: Apache-2.0
import { equal, throws } from 'node:assert/strict'
import { parseArguments, UsageError } from '../../src/cli/arguments.js'
import { OPTIONS } from '../../src/request/options.js'
import { suite } from '../suite.js'

const test = suite('arguments of the berth command')
const parse = (...argv: string[]) => parseArguments(argv, {}, true)

test('the long and the short name of a container option mean the same', () => {
  equal(parse('--container-workdir=/data').container[0], 'container-workdir=/data')
  equal(parse('--workdir=/data').container[0], 'container-workdir=/data')
  equal(parse('--workdir', '/data').container[0], 'container-workdir=/data')
})

test('a list given twice adds up, a single value is replaced', () => {
  equal(parse('--mounts=/a', '--mounts=/b:/c').container[0], 'container-mounts=/a,/b:/c')
  equal(parse('--workdir=/a', '--workdir=/b').container.join(' '), 'container-workdir=/b')
})

test('flags have their no- form in both spellings', () => {
  equal(parse('--mount-home').container[0], 'container-mount-home=1')
  equal(parse('--no-mount-home').container[0], 'no-container-mount-home=1')
  equal(parse('--no-container-mount-home').container[0], 'no-container-mount-home=1')
})

test("what Slurm's plugin passes for a flag is understood", () => {
  equal(parse('--container-readonly=1').container[0], 'container-readonly=1')
  equal(parse('--container-readonly=0').container[0], 'container-readonly=0')
  equal(parse('--container-writable=4G').container[0], 'container-writable=4G')
})

test('every option of the grammar, but those of other products, has both spellings', () => {
  const own = Object.entries(OPTIONS).filter(([, row]) => !('dialect' in row))
  for (const [name, { kind }] of own) {
    const value = kind === 'flag' ? '' : '=x'
    for (const spelling of [name, name.replace('container-', '')]) {
      equal(parse(`--${spelling}${value}`).container.length, 1, spelling)
    }
  }
})

test('what stands after -- is the command, options and all', () => {
  const { words, rest } = parse('image', '--workdir=/x', '--', 'ls', '-l', '--', '--help')
  equal(words.join(' '), 'image')
  equal(rest.join(' '), 'ls -l -- --help')
})

test('an unknown option is named', () => {
  throws(() => parse('--container-colour=red'), new UsageError('unknown option --container-colour'))
  throws(() => parse('--no-workdir'), UsageError)
  throws(() => parseArguments(['--mounts=/a'], {}, false), new UsageError('unknown option --mounts'))
})

test('an option without its value is named', () => {
  throws(() => parse('--workdir'), new UsageError('--workdir needs a value'))
})

test('an option that may be repeated keeps all its values in order', () => {
  const specs = { option: { type: 'string', help: '' } } as const
  equal(parseArguments(['--option=a=1', '--option=b=2'], specs, true).all.option?.join(' '), 'a=1 b=2')
})

test.run()
