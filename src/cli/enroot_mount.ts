// SPDX-License-Identifier: Apache-2.0
/** `enroot start -m`: a line of fstab with colons for blanks, as an entry of --container-mounts. */

/** The third field of such a line, where it says nothing that the source does not. */
const TYPES = /^(none|bind|auto|tmpfs)$/

/** @param line SRC:DST[:TYPE][:OPTION,…], e.g. /data:/data:none:rbind,ro */
export function mountOption(line: string): string {
  const [source = '', target = source, ...rest] = line.split(':')
  const flags = rest.flatMap((field) => field.split(',')).filter((flag) => flag !== '' && !TYPES.test(flag))
  // enroot counts a target from the root, whether it says so or not.
  const place = target.startsWith('/') ? target : `/${target}`
  return [quote(source), quote(place), ...(flags.length === 0 ? [] : [flags.join('+')])].join(':')
}

/** What --container-mounts takes for more than a letter. */
function quote(path: string): string {
  return path.replaceAll(/[\\,"$]/g, '\\$&')
}
