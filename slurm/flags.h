/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of flags. --help, the environment names, flags.json (docs, tests and TypeScript read it) come
 * from it.
 */
#ifndef BERTH_FLAGS_H
#define BERTH_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

enum flag_kind {
  /** The last value wins. */
  FLAG_SINGLE,
  /** Repeats on one command line add up, joined by commas. */
  FLAG_LIST,
  /** Yes or no. */
  FLAG_BOOL,
};

/* Bits: words of other products, known only where the plugstack line says so. */
enum flag_group {
  FLAG_OURS = 0,
  FLAG_SHIFTER_SHORT = 1,
  FLAG_SHIFTER_LONG = 2,
  FLAG_GSI = 4,
};

struct flag {
  /** Without the dashes, as in an OPTION field. */
  const char *name;
  /** What --help shows after the equals sign; NULL for a plain yes/no flag. */
  const char *argument;
  enum flag_kind kind;
  const char *help;
  /** PYXIS_<NAME> is read too. */
  bool pyxis;
  /** The row that says the opposite: a stronger source of one silences the other. */
  const char *opposite;
  /** A yes/no flag that may carry a value all the same, --name=VALUE. */
  bool valued;
  /** A step with a value here runs in a container. */
  bool selects;
  /** The row in whose place it may stand: a stronger source of one silences the other. */
  const char *instead_of;
  enum flag_group group;
  /** The other product's own variable for it. */
  const char *variable;
};

/* Rows of the table, so that arrays can be sized by it; checked where the table is. */
#define FLAG_COUNT 38

extern const struct flag flags[FLAG_COUNT];

/** Room for any environment name below. */
#define FLAG_VARIABLE_MAX 128

/** PREFIX + the flag's name in capitals with underscores, e.g. SLURM_BERTH_ + CONTAINER_IMAGE. */
void flag_variable(const struct flag *flag, const char *prefix, char buffer[FLAG_VARIABLE_MAX]);
/** plugin_name of berth.so, and of what jobs may have been submitted with before a site went over to berth.
 */
#define FLAG_PLUGIN "berth"
#define FLAG_PLUGIN_BEFORE "pyxis"
/** How Slurm spells a plugin's option in the environment: PREFIX_SLURM_SPANK_OPTION_berth_container_image. */
void flag_spank_variable(const struct flag *flag, const char *prefix, const char *plugin,
                         char buffer[FLAG_VARIABLE_MAX]);
/** The row that says the opposite, or NULL. */
const struct flag *flag_opposite(const struct flag *flag);
/** False for another product's word that this plugstack line does not ask for. */
bool flag_is_known(const struct flag *flag, unsigned int groups);

#endif
