#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The child of the worker that alone touches the shared store. Its argument is SharerSettings, descriptor 3 the worker. */
import { native } from '../native.js'
import { SharerServer } from '../store/shared/server.js'
import type { SharerSettings } from '../store/shared/wire.js'

const SOCKET_FD = 3

process.umask(0o077)
const settings = JSON.parse(process.argv[2] ?? '{}') as SharerSettings
new SharerServer(native, SOCKET_FD, settings, () => process.exit(0))
