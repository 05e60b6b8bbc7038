/* SPDX-License-Identifier: Apache-2.0
 *
 * --environment=NAME: the file is the user's, so it is read by a program of the user's, here, once; what it
 * says then travels as a value of --edf like any other option.
 */
#ifndef BERTH_EDF_H
#define BERTH_EDF_H

#include "options.h"
#include "place.h"
#include "settings.h"

/**
 * Replaces the name of an environment file by what is in it. 0, also where none is named or it is known
 * already; -1 with error filled, or with the reason printed by the program.
 */
int edf_render(struct options *options, const struct settings *settings, const struct place *place,
               struct error *error);

#endif
