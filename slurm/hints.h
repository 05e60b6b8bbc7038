/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated from the tables of src/report/errors.ts; do not edit. Hints without fields that C uses.
 */
#ifndef BERTH_HINTS_H
#define BERTH_HINTS_H

/* clang-format off */
#define HINT_ECOMMAND "name a program of the image, or add its directory to PATH"
#define HINT_ECONFLICT "give one of the two"
#define HINT_EENTRYPOINT "let it end with exec \"$@\", and without closing other descriptors"
#define HINT_EENVIRONMENT "unset large variables, or submit with --export=NONE"
#define HINT_EEXEC "use a program that this image and this node can run"
#define HINT_EHETEROGENEOUS "give each component the same --container options, or use one srun each"
#define HINT_EMULTIPROG "use one srun per program, joined by `:`, or submit where the plugin is"
#define HINT_EPLUGSTACK "mend berth's line in plugstack.conf"
#define HINT_EPROTOCOL "run the step again; if it says the same, root ends the worker of this node (its pid is in worker.pid of berth's runtime_dir): running steps go on, and the next one starts a new worker"
#define HINT_ESTRANGER "tell the operators of this node: runtime_dir= in plugstack.conf must name a directory that root made"
#define HINT_EVERSION "run the step again; if it says the same, root ends the worker of this node (its pid is in worker.pid of berth's runtime_dir): running steps go on, and the next one starts a new worker"
#define HINT_EWORKDIR "name a directory of the image, or one that is mounted"
/* clang-format on */

#endif
