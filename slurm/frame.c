/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Most frames are smaller; a job's environment doubles it a few times. */
#define FIRST_CAPACITY 512

static void put16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value) {
  put16(at, value);
  put16(at + 2, value >> 16);
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static uint32_t get32(const uint8_t *at) { return get16(at) | (uint32_t)get16(at + 2) << 16; }

/* Room for more bytes, or NULL after which the frame counts as failed. */
static uint8_t *grow(struct frame_out *frame, size_t more) {
  if (frame->failed)
    return NULL;
  if (more > BERTH_FRAME_MAX + 4u || frame->size + more > BERTH_FRAME_MAX + 4u) {
    frame->failed = true;
    errno = EMSGSIZE;
    return NULL;
  }
  size_t capacity = frame->capacity > 0 ? frame->capacity : FIRST_CAPACITY;
  while (capacity < frame->size + more)
    capacity *= 2;
  if (capacity > frame->capacity) {
    uint8_t *bytes = realloc(frame->bytes, capacity);
    if (!bytes) {
      frame->failed = true;
      errno = ENOMEM;
      return NULL;
    }
    frame->bytes = bytes;
    frame->capacity = capacity;
  }
  uint8_t *at = frame->bytes + frame->size;
  frame->size += more;
  return at;
}

void frame_start(struct frame_out *frame, enum berth_type type) {
  frame->size = 0;
  frame->failed = false;
  uint8_t *header = grow(frame, FRAME_HEADER_BYTES);
  if (!header)
    return;
  put32(header, 0);
  put16(header + 4, (uint32_t)type);
  put16(header + 6, BERTH_PROTOCOL_VERSION);
}

static uint8_t *add_field(struct frame_out *frame, enum berth_tag tag, size_t length) {
  if (length > BERTH_FRAME_MAX) {
    frame->failed = true;
    errno = EMSGSIZE;
    return NULL;
  }
  uint8_t *field = grow(frame, FRAME_FIELD_BYTES + length);
  if (!field)
    return NULL;
  put16(field, (uint32_t)tag);
  put16(field + 2, 0);
  put32(field + 4, (uint32_t)length);
  return field + FRAME_FIELD_BYTES;
}

void frame_add(struct frame_out *frame, enum berth_tag tag, const void *bytes, size_t length) {
  uint8_t *value = add_field(frame, tag, length);
  if (value && length > 0)
    memcpy(value, bytes, length);
}

void frame_add_text(struct frame_out *frame, enum berth_tag tag, const char *text) {
  frame_add(frame, tag, text, strlen(text));
}

void frame_add_word(struct frame_out *frame, enum berth_tag tag, uint32_t word) {
  uint8_t *value = add_field(frame, tag, sizeof(word));
  if (value)
    put32(value, word);
}

void frame_add_words(struct frame_out *frame, enum berth_tag tag, const uint32_t *words, size_t count) {
  uint8_t *value = add_field(frame, tag, count * sizeof(*words));
  for (size_t i = 0; value && i < count; i++)
    put32(value + i * sizeof(*words), words[i]);
}

void frame_add_environment(struct frame_out *frame, char *const *environment) {
  size_t length = 0;

  for (size_t i = 0; environment && environment[i]; i++)
    length += strlen(environment[i]) + 1;
  uint8_t *value = add_field(frame, BERTH_TAG_ENV, length);
  for (size_t i = 0; value && environment && environment[i]; i++) {
    const size_t bytes = strlen(environment[i]) + 1;
    memcpy(value, environment[i], bytes);
    value += bytes;
  }
}

bool frame_finish(struct frame_out *frame) {
  if (frame->failed || !frame->bytes)
    return false;
  put32(frame->bytes, (uint32_t)(frame->size - 4));
  return true;
}

void frame_out_free(struct frame_out *frame) {
  free(frame->bytes);
  *frame = (struct frame_out){0};
}

bool frame_header(const uint8_t header[FRAME_HEADER_BYTES], uint32_t *body_size, uint16_t *type) {
  const uint32_t size = get32(header);

  if (size < FRAME_HEADER_BYTES - 4 || size > BERTH_FRAME_MAX) {
    errno = EPROTO;
    return false;
  }
  if (get16(header + 6) != BERTH_PROTOCOL_VERSION) {
    errno = EPROTONOSUPPORT;
    return false;
  }
  *body_size = size - (FRAME_HEADER_BYTES - 4);
  *type = get16(header + 4);
  return true;
}

bool frame_next(const struct frame_in *frame, size_t *at, struct field *field) {
  if (frame->size - *at < FRAME_FIELD_BYTES)
    return false;
  const uint8_t *head = frame->body + *at;
  const uint32_t length = get32(head + 4);
  if (length > frame->size - *at - FRAME_FIELD_BYTES)
    return false;
  *field = (struct field){.tag = get16(head), .bytes = head + FRAME_FIELD_BYTES, .length = length};
  *at += FRAME_FIELD_BYTES + length;
  return true;
}

bool frame_is_whole(const struct frame_in *frame) {
  struct field field;
  size_t at = 0;

  while (frame_next(frame, &at, &field))
    ;
  return at == frame->size;
}

bool frame_find(const struct frame_in *frame, enum berth_tag tag, struct field *field) {
  size_t at = 0;

  while (frame_next(frame, &at, field))
    if (field->tag == tag)
      return true;
  return false;
}

uint32_t field_word(const struct field *field) { return field->length == 4 ? get32(field->bytes) : 0; }

bool frame_word(const struct frame_in *frame, enum berth_tag tag, uint32_t *word) {
  struct field field;

  if (!frame_find(frame, tag, &field) || field.length != 4)
    return false;
  *word = field_word(&field);
  return true;
}

char *field_text(const struct field *field) {
  if (field->length > 0 && memchr(field->bytes, '\0', field->length))
    return NULL;
  char *text = malloc((size_t)field->length + 1);
  if (!text)
    return NULL;
  if (field->length > 0)
    memcpy(text, field->bytes, field->length);
  text[field->length] = '\0';
  return text;
}

void frame_in_free(struct frame_in *frame) {
  for (size_t i = 0; i < frame->fd_count; i++)
    if (frame->fds[i] >= 0)
      (void)close(frame->fds[i]);
  free(frame->body);
  *frame = (struct frame_in){0};
}
