// SPDX-License-Identifier: Apache-2.0
/** CSCS' sarus: a setuid program around runc that runs images of its own store only, so the prepared root is a mount. */
import type { Engine, StartPlace } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'
import { holdInside, INSIDE, STUB_REFERENCE, stubArchive } from './stub_image.js'

/** What `sarus load` makes of a name, as `sarus images` shows it. */
const REPOSITORY = 'load/library'
/** Sarus has no word that says whether an image is there, but for a list of all. */
const IS_LOADED = `"$0" images | grep -q '^${REPOSITORY}/${STUB_REFERENCE.replace(':', ' *')} '`

export const sarusEngine: Engine = {
  name: 'sarus',
  summary: "CSCS' setuid program around runc, with the OCI hooks of the site",
  needs: {
    binary: 'sarus',
    versionPattern: /^(\d+\.\d+(?:\.\d+)*)/,
    // Since then it loads archives by skopeo and umoci, and has the host's pid namespace.
    versionMin: '1.5',
    install: "CSCS' standalone archive and its configure_installation.sh",
    daemon: false,
    setuid: true,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 1: 'sarus failed, or a hook did' },
  start: {
    rootInside: INSIDE,
    before: (place) => [
      {
        unless: ['/bin/sh', '-c', IS_LOADED, place.binary],
        command: [place.binary, 'load', `--temp-dir=${place.run}`, archiveIn(place), STUB_REFERENCE],
      },
    ],
    command: (place) => [
      ...[place.binary, 'run', '--pid=host', '--workdir=/'],
      `--mount=type=bind,source=${place.root},destination=${INSIDE}`,
      ...place.args,
      `${REPOSITORY}/${STUB_REFERENCE}`,
      ...holdInside(place),
    ],
    files: () => [{ name: 'stub.tar', content: stubArchive() }],
    mountPoints: ['/proc', '/sys', '/dev'],
    ownVariables: ['SARUS_*'],
  },
}

function archiveIn({ work }: StartPlace): string {
  return `${work}/stub.tar`
}
