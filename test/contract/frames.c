/* SPDX-License-Identifier: Apache-2.0
 *
 * The C half of the contract: `frames write` prints one frame of each shape as `NAME HEX`; `frames read`
 * takes lines of hex on stdin and prints what the C reader sees: `TYPE TAG:HEX…`, or `refused`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../slurm/frame.h"

#define LINE_MAX_BYTES (4 << 20)

static void print_hex(const uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++)
    printf("%02x", bytes[i]);
}

static void finish(const char *name, struct frame_out *frame) {
  printf("%s ", name);
  if (frame_finish(frame))
    print_hex(frame->bytes, frame->size);
  else
    printf("too-large");
  putchar('\n');
}

static void write_frames(void) {
  char *const environment[] = {(char *)"A=1", (char *)"EMPTY=", (char *)"UTF=\xc3\xa4", NULL};
  const uint32_t groups[] = {4, 27, 0xfffffffe};
  const uint8_t handle[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xff};
  cleanup_frame_out struct frame_out frame = {0};

  frame_start(&frame, BERTH_ACK);
  finish("empty", &frame);

  frame_start(&frame, BERTH_REGISTER);
  frame_add(&frame, BERTH_TAG_HANDLE, handle, sizeof(handle));
  frame_add_word(&frame, BERTH_TAG_JOB, 4711);
  frame_add_word(&frame, BERTH_TAG_STEP, 0xfffffffb);
  frame_add_words(&frame, BERTH_TAG_GIDS, groups, 3);
  frame_add_text(&frame, BERTH_TAG_CONTEXT, "batch");
  frame_add_text(&frame, BERTH_TAG_OPTION, "container-image=debian:12");
  frame_add_text(&frame, BERTH_TAG_OPTION, "container-readonly=1");
  frame_add_environment(&frame, environment);
  finish("register", &frame);

  frame_start(&frame, BERTH_HELLO);
  frame_add_word(&frame, BERTH_TAG_TTY, 80);
  frame_add_text(&frame, BERTH_TAG_ARGV0, "");
  frame_add_text(&frame, BERTH_TAG_CWD, "/ein/Verzeichnis mit Leerzeichen/\xc3\xa4");
  finish("hello", &frame);

  frame_start(&frame, BERTH_CHECK);
  cleanup_frame_out struct frame_out huge = {0};
  frame_start(&huge, BERTH_CHECK);
  char *large = calloc(1, BERTH_FRAME_MAX);
  frame_add(&huge, BERTH_TAG_ENV, large, large ? BERTH_FRAME_MAX - 12 : 0);
  printf("largest %zu\n", frame_finish(&huge) ? huge.size : 0);
  frame_add_text(&huge, BERTH_TAG_CWD, "");
  finish("beyond", &huge);
  free(large);
}

static size_t from_hex(char *line) {
  size_t length = 0;
  unsigned int byte;

  for (const char *at = line; sscanf(at, "%2x", &byte) == 1; at += 2)
    line[length++] = (char)byte;
  return length;
}

static void read_frame(char *line) {
  const size_t length = from_hex(line);
  struct frame_in frame = {0};
  struct field field;
  uint32_t size;

  if (length < FRAME_HEADER_BYTES || !frame_header((const uint8_t *)line, &size, &frame.type) ||
      size != length - FRAME_HEADER_BYTES) {
    puts("refused");
    return;
  }
  frame.body = malloc(size > 0 ? size : 1);
  frame.size = size;
  if (frame.body && size > 0)
    memcpy(frame.body, line + FRAME_HEADER_BYTES, size);
  if (!frame_is_whole(&frame)) {
    puts("refused");
  } else {
    printf("%u", frame.type);
    for (size_t at = 0; frame_next(&frame, &at, &field);) {
      printf(" %u:", field.tag);
      print_hex(field.bytes, field.length);
    }
    putchar('\n');
  }
  frame_in_free(&frame);
}

int main(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "read") != 0) {
    write_frames();
    return 0;
  }
  char *line = malloc(LINE_MAX_BYTES);
  while (line && fgets(line, LINE_MAX_BYTES, stdin))
    read_frame(line);
  free(line);
  return 0;
}
