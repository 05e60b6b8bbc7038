// SPDX-License-Identifier: Apache-2.0
/**
 * What an engine of the host is started in: a private copy of the job's mount namespace, and on the staging
 * directory, which only this copy shows, a tmpfs with
 *
 *   root   the prepared root, writable, with the program that the engine is to run in it
 *   work   files for the engine
 *   run    an empty directory, for XDG_RUNTIME_DIR
 *
 * so that all of it is gone with the last process of the engine.
 */
#pragma once

#include "child.hh"
#include "spec.hh"

namespace berth {

/** Opened in the worker's mount namespace. */
Result<Fd> openProgram(const ViewSpec &view);

/** The calling process enters the view; `job`: mount namespace that it is a copy of. Sends kPrepared. */
Result<> makeView(const NamespaceSpec &spec, const Fd &root, int job, int program, ParentLink &parent);

} // namespace berth
