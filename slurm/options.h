/* SPDX-License-Identifier: Apache-2.0
 *
 * The values of all flags, each from the strongest source that named it. No grammar: a value is what a user
 * wrote.
 */
#ifndef BERTH_OPTIONS_H
#define BERTH_OPTIONS_H

#include "error.h"
#include "flags.h"
#include "frame.h"

/** Who said it, weakest first. */
enum source {
  SOURCE_NONE,
  SOURCE_PYXIS,     /* PYXIS_CONTAINER_* */
  SOURCE_BERTH,     /* BERTH_CONTAINER_* */
  SOURCE_SPANK,     /* Slurm's own carrier: option callbacks on the node,
                       (SLURM_)SPANK__SLURM_SPANK_OPTION_berth_* */
  SOURCE_INHERITED, /* SLURM_BERTH_*: an enclosing salloc, sbatch or srun of the same job */
  SOURCE_FLAG,      /* this command line */
};

struct options {
  struct {
    /** Owned; NULL without a source. */
    char *value;
    enum source source;
  } values[FLAG_COUNT];
  /** There was no memory for a value: what was asked for is not known any more. */
  bool failed;
};

/** A stronger source replaces, a weaker one is ignored; the same one adds to a list and replaces anything
 * else. */
void options_take(struct options *options, size_t flag, const char *value, enum source source);
/** Takes every value of `from` as said by `source`; SOURCE_NONE: by whom `from` has it. What `from` lost is
 * lost. */
void options_take_all(struct options *options, const struct options *from, enum source source);
/** Takes every variable of environment that names a flag, of all sources; other products' own ones by groups.
 */
void options_take_environment(struct options *options, char *const *environment, unsigned int groups);
/** Takes Slurm's own option variables, with the prefix they have in this context ("SLURM_SPANK_", "SPANK_").
 */
void options_take_spank(struct options *options, char *const *environment, const char *prefix);
/** Drops each value whose opposite, or whose stand-in, comes from a stronger source. Once, after all has been
 * taken. */
void options_settle(struct options *options);
void options_drop(struct options *options, size_t flag);
/** True when a container is asked for, or may have been; `--container-image=none`, or an empty variable, is
 * no container. */
bool options_want_container(const struct options *options);
const char *options_value(const struct options *options, const char *name);
/** True for a variable's value where an environment file is stronger: it must be told apart from a flag's, so
 * it reaches the node by its own name or not at all. */
bool options_yields(const struct options *options, size_t flag);
bool options_equal(const struct options *left, const struct options *right);
/** One OPTION field per value; the frame fails where one was lost. */
void options_add_to(const struct options *options, struct frame_out *frame);
/** The error of options that lost a value; 0 or -1 with error filled. */
int options_check(const struct options *options, struct error *error);
void options_free(struct options *options);
/** Index of a flag by name, FLAG_COUNT when there is none. */
size_t options_find(const char *name, size_t length);

#endif
