/* SPDX-License-Identifier: Apache-2.0 */
#include "multi_prog.h"

#include <stdlib.h>
#include <string.h>

#include "place.h"

/* isspace(3) of the C locale, which is what Slurm's parser takes for blank, within a line. */
#define BLANK " \t\v\f\r"
/* Quotes, escapes and task numbers of srun(1), MULTIPLE PROGRAM CONFIGURATION. */
#define SIGNS BLANK "\n\\'%"

/* One line's task numbers, and the command behind them. */
struct record {
  const char *ranks;
  const char *command;
};

/* False for comments, blank lines, and lines without a command, about which Slurm complains itself. */
static bool read_record(const char *line, struct record *record) {
  record->ranks = line + strspn(line, BLANK);
  if (*record->ranks == '#')
    return false;
  record->command = record->ranks + strcspn(record->ranks, BLANK "\n");
  record->command += strspn(record->command, BLANK);
  return *record->command && *record->command != '\n';
}

static const char *next_line(const char *line) {
  line += strcspn(line, "\n");
  return *line ? line + 1 : line;
}

static bool first_record(const char *text, struct record *record) {
  for (; *text; text = next_line(text))
    if (read_record(text, record))
      return true;
  return false;
}

bool multi_prog_is_text(const char *text) {
  struct record first;

  if (!first_record(text, &first))
    return false;
  const size_t ranks = strspn(first.ranks, "0123456789,-*");
  return ranks > 0 && strchr(BLANK, first.ranks[ranks]);
}

bool multi_prog_has_launcher(const char *text) {
  static const char name[] = "/" LAUNCHER_NAME;
  struct record first;

  if (!multi_prog_is_text(text) || !first_record(text, &first))
    return false;
  const size_t length = strcspn(first.command, BLANK "\n");
  return length >= sizeof(name) - 1 &&
         memcmp(first.command + length - (sizeof(name) - 1), name, sizeof(name) - 1) == 0;
}

static bool continues(const char *line) {
  const size_t length = strcspn(line, "\n");
  return length > 0 && line[length - 1] == '\\';
}

static size_t count_lines(const char *text) {
  size_t count = 0;
  for (; *text; text = next_line(text))
    count++;
  return count;
}

char *multi_prog_with_launcher(const char *text, const char *launcher) {
  const size_t length = strlen(launcher);
  if (strcspn(launcher, SIGNS) != length)
    return NULL;
  char *longer = malloc(strlen(text) + count_lines(text) * (length + 1) + 1);
  if (!longer)
    return NULL;
  char *end = longer;
  bool inside = false;
  for (const char *line = text; *line;) {
    const char *next = next_line(line);
    struct record record;
    if (!inside && read_record(line, &record)) {
      end = mempcpy(end, line, (size_t)(record.command - line));
      end = mempcpy(end, launcher, length);
      *end++ = ' ';
      line = record.command;
    }
    inside = continues(line);
    end = mempcpy(end, line, (size_t)(next - line));
    line = next;
  }
  *end = '\0';
  return longer;
}
