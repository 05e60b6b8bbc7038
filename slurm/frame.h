/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of protocol.h in memory: built field by field, read back with every length checked. No descriptors,
 * no I/O.
 */
#ifndef BERTH_FRAME_H
#define BERTH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* u32 size, u16 type, u16 version */
#define FRAME_HEADER_BYTES 8
/* u16 tag, u16 zero, u32 length */
#define FRAME_FIELD_BYTES 8

/** A frame being written. Adding never fails; frame_finish says whether all of it fitted. */
struct frame_out {
  uint8_t *bytes;
  size_t size;
  size_t capacity;
  bool failed;
};

/** A received frame; the descriptors are CLOEXEC and owned by it until stolen. */
struct frame_in {
  uint8_t *body;
  size_t size;
  uint16_t type;
  int fds[BERTH_FRAME_FDS_MAX];
  size_t fd_count;
};

struct field {
  uint16_t tag;
  const uint8_t *bytes;
  uint32_t length;
};

void frame_start(struct frame_out *frame, enum berth_type type);
void frame_add(struct frame_out *frame, enum berth_tag tag, const void *bytes, size_t length);
void frame_add_text(struct frame_out *frame, enum berth_tag tag, const char *text);
void frame_add_word(struct frame_out *frame, enum berth_tag tag, uint32_t word);
void frame_add_words(struct frame_out *frame, enum berth_tag tag, const uint32_t *words, size_t count);
/** The whole environment as one ENV field. */
void frame_add_environment(struct frame_out *frame, char *const *environment);
/** Completes the header. False: over BERTH_FRAME_MAX (errno EMSGSIZE) or no memory (ENOMEM). */
bool frame_finish(struct frame_out *frame);
void frame_out_free(struct frame_out *frame);

/** Reads a header. False with errno: EPROTO no frame, EPROTONOSUPPORT one of another protocol version. */
bool frame_header(const uint8_t header[FRAME_HEADER_BYTES], uint32_t *body_size, uint16_t *type);
/** True when the fields fill the body exactly; the functions below need that. */
bool frame_is_whole(const struct frame_in *frame);
/** Steps through the fields; start with *at = 0. */
bool frame_next(const struct frame_in *frame, size_t *at, struct field *field);
bool frame_find(const struct frame_in *frame, enum berth_tag tag, struct field *field);
/** A u32 field; false when absent or of another size. */
bool frame_word(const struct frame_in *frame, enum berth_tag tag, uint32_t *word);
uint32_t field_word(const struct field *field);
/** The field as a C string in new memory; NULL when it holds a NUL byte or there is no memory. */
char *field_text(const struct field *field);
void frame_in_free(struct frame_in *frame);

#define cleanup_frame_out __attribute__((cleanup(frame_out_free)))
#define cleanup_frame_in __attribute__((cleanup(frame_in_free)))

#endif
