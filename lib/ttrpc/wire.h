/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The bytes of ttrpc and of its messages, without GLib and without allocation where it can be helped: the
 * shim lives by this.
 *
 * ttrpc (github.com/containerd/ttrpc, PROTOCOL.md): a frame is a header of ten bytes (length, stream id, both
 * big endian; type; flags) and a payload of at most 4 MiB. A request's payload is the message Request {
 * service = 1, method = 2, payload = 3, timeout_nano = 4, metadata = 5 }; a response's is Response { status =
 * 1, payload = 2 }, status being google.rpc.Status { code = 1, message = 2 }.
 *
 * Messages are protocol buffers (protobuf.dev, "Encoding"); only what these need: varints, 64-bit,
 * length-delimited.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TTRPC_HEADER      10
#define TTRPC_MAX_PAYLOAD (4 * 1024 * 1024)

enum
{
  TTRPC_REQUEST = 1,
  TTRPC_RESPONSE = 2,
  TTRPC_DATA = 3
};
enum
{
  TTRPC_REMOTE_CLOSED = 1,
  TTRPC_REMOTE_OPEN = 2,
  TTRPC_NO_DATA = 4
};

typedef struct
{
  uint32_t length;
  uint32_t stream;
  uint8_t type;
  uint8_t flags;
} TtrpcHeader;

void ttrpc_header_read (const uint8_t in[TTRPC_HEADER], TtrpcHeader *header);
void ttrpc_header_write (const TtrpcHeader *header, uint8_t out[TTRPC_HEADER]);

/** A growing buffer. Once an allocation fails it stays failed, and what is written to it is dropped. */
typedef struct
{
  uint8_t *data;
  size_t length;
  size_t size;
  bool failed;
} PbBuffer;

void pb_clear (PbBuffer *buffer);
void pb_append (PbBuffer *buffer, const void *data, size_t length);
void pb_put_raw_varint (PbBuffer *buffer, uint64_t value); /* without a key: an element of a packed field */
void pb_put_varint (PbBuffer *buffer, uint32_t field, uint64_t value); /* nothing for 0, as proto3 has it */
void pb_put_bytes (PbBuffer *buffer, uint32_t field, const void *data, size_t length); /* also when empty */
void pb_put_string (PbBuffer *buffer, uint32_t field, const char *text); /* nothing for NULL and "" */
/** Begins a nested message; pb_end () closes it. Returns: what pb_end () wants. */
size_t pb_begin (PbBuffer *buffer, uint32_t field);
void pb_end (PbBuffer *buffer, size_t begun);
/** google.protobuf.Timestamp { seconds = 1, nanos = 2 } */
void pb_put_timestamp (PbBuffer *buffer, uint32_t field, int64_t ns);

/** A message that is being read. Spans point into it. */
typedef struct
{
  const uint8_t *at;
  const uint8_t *end;
} PbReader;

typedef struct
{
  uint32_t number;
  uint32_t wire; /* 0 varint, 1 64-bit, 2 bytes, 5 32-bit */
  uint64_t value;
  const uint8_t *data;
  size_t length;
} PbField;

/** Reads the next field. Returns: 1, 0 at the end, -1 if the bytes are not a message. */
int pb_next (PbReader *reader, PbField *field);
static inline PbReader
pb_reader (const void *data, size_t length)
{
  PbReader reader = { (const uint8_t *)data, (const uint8_t *)data + length };

  return reader;
}
/** A copy of a string field, without embedded NULs (cut there). Returns: (transfer full) malloc ()ed, or
 * NULL. */
char *pb_dup (const PbField *field);
int64_t pb_read_timestamp (const PbField *field);
