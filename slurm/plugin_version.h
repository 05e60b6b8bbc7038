/* SPDX-License-Identifier: Apache-2.0
 *
 * What every plugin of berth tells Slurm about itself. The version is that of the Slurm that loads it, chosen
 * as the plugin is loaded.
 */
#ifndef BERTH_PLUGIN_VERSION_H
#define BERTH_PLUGIN_VERSION_H

#define EXPORT __attribute__((visibility("default")))

extern const char plugin_name[];
extern const char plugin_type[];
extern const unsigned int spank_plugin_version;
extern unsigned int plugin_version;

#endif
