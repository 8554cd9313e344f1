/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

static uint32_t
read_be32 (const uint8_t *in)
{
  return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static void
write_be32 (uint8_t *out, uint32_t value)
{
  for (int i = 0; i < 4; i++)
    out[i] = (uint8_t)(value >> (24 - 8 * i));
}

void
ttrpc_header_read (const uint8_t in[TTRPC_HEADER], TtrpcHeader *header)
{
  header->length = read_be32 (in);
  header->stream = read_be32 (in + 4);
  header->type = in[8];
  header->flags = in[9];
}

void
ttrpc_header_write (const TtrpcHeader *header, uint8_t out[TTRPC_HEADER])
{
  write_be32 (out, header->length);
  write_be32 (out + 4, header->stream);
  out[8] = header->type;
  out[9] = header->flags;
}

void
pb_clear (PbBuffer *buffer)
{
  free (buffer->data);
  *buffer = (PbBuffer){ 0 };
}

void
pb_append (PbBuffer *buffer, const void *data, size_t length)
{
  if (buffer->failed || length == 0)
    return;
  if (length > buffer->size - buffer->length)
    {
      size_t size = buffer->size != 0 ? buffer->size : 64;
      uint8_t *grown;

      while (size - buffer->length < length)
        size *= 2;
      grown = realloc (buffer->data, size);
      if (grown == NULL)
        {
          buffer->failed = true;
          return;
        }
      buffer->data = grown;
      buffer->size = size;
    }
  memcpy (buffer->data + buffer->length, data, length);
  buffer->length += length;
}

static size_t
encode_varint (uint64_t value, uint8_t out[10])
{
  size_t n = 0;

  do
    {
      out[n] = (uint8_t)(value & 0x7f);
      value >>= 7;
      if (value != 0)
        out[n] |= 0x80;
      n++;
    }
  while (value != 0);
  return n;
}

void
pb_put_raw_varint (PbBuffer *buffer, uint64_t value)
{
  uint8_t bytes[10];

  pb_append (buffer, bytes, encode_varint (value, bytes));
}

void
pb_put_varint (PbBuffer *buffer, uint32_t field, uint64_t value)
{
  if (value == 0)
    return;
  pb_put_raw_varint (buffer, (uint64_t)field << 3);
  pb_put_raw_varint (buffer, value);
}

void
pb_put_bytes (PbBuffer *buffer, uint32_t field, const void *data, size_t length)
{
  pb_put_raw_varint (buffer, (uint64_t)field << 3 | 2);
  pb_put_raw_varint (buffer, length);
  pb_append (buffer, data, length);
}

void
pb_put_string (PbBuffer *buffer, uint32_t field, const char *text)
{
  if (text != NULL && text[0] != '\0')
    pb_put_bytes (buffer, field, text, strlen (text));
}

size_t
pb_begin (PbBuffer *buffer, uint32_t field)
{
  pb_put_raw_varint (buffer, (uint64_t)field << 3 | 2);
  return buffer->length;
}

void
pb_end (PbBuffer *buffer, size_t begun)
{
  uint8_t bytes[10];
  size_t length, n;

  if (buffer->failed)
    return;
  length = buffer->length - begun;
  n = encode_varint (length, bytes);
  pb_append (buffer, bytes, n); /* makes room; the bytes move below */
  if (buffer->failed)
    return;
  memmove (buffer->data + begun + n, buffer->data + begun, length);
  memcpy (buffer->data + begun, bytes, n);
}

void
pb_put_timestamp (PbBuffer *buffer, uint32_t field, int64_t ns)
{
  size_t begun;

  if (ns == 0)
    return;
  begun = pb_begin (buffer, field);
  pb_put_varint (buffer, 1, (uint64_t)(ns / 1000000000));
  pb_put_varint (buffer, 2, (uint64_t)(ns % 1000000000));
  pb_end (buffer, begun);
}

static bool
read_varint (PbReader *reader, uint64_t *ret_value)
{
  uint64_t value = 0;

  for (unsigned shift = 0; shift < 64; shift += 7)
    {
      if (reader->at == reader->end)
        return false;
      value |= (uint64_t)(*reader->at & 0x7f) << shift;
      if ((*reader->at++ & 0x80) == 0)
        {
          *ret_value = value;
          return true;
        }
    }
  return false;
}

static bool
skip (PbReader *reader, size_t length)
{
  if (length > (size_t)(reader->end - reader->at))
    return false;
  reader->at += length;
  return true;
}

int
pb_next (PbReader *reader, PbField *field)
{
  uint64_t key, length;

  if (reader->at == reader->end)
    return 0;
  if (!read_varint (reader, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
    return -1;
  *field = (PbField){ .number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7) };
  switch (field->wire)
    {
    case 0:
      return read_varint (reader, &field->value) ? 1 : -1;
    case 1:
      return skip (reader, 8) ? 1 : -1;
    case 5:
      return skip (reader, 4) ? 1 : -1;
    case 2:
      if (!read_varint (reader, &length) || length > (size_t)(reader->end - reader->at))
        return -1;
      field->data = reader->at;
      field->length = (size_t)length;
      reader->at += length;
      return 1;
    default:
      return -1;
    }
}

char *
pb_dup (const PbField *field)
{
  char *copy = malloc (field->length + 1);

  if (copy == NULL)
    return NULL;
  memcpy (copy, field->data, field->length);
  copy[field->length] = '\0';
  return copy;
}

int64_t
pb_read_timestamp (const PbField *field)
{
  PbReader reader = pb_reader (field->data, field->length);
  PbField part;
  int64_t seconds = 0, nanos = 0;

  while (pb_next (&reader, &part) > 0)
    {
      if (part.number == 1 && part.wire == 0)
        seconds = (int64_t)part.value;
      else if (part.number == 2 && part.wire == 0)
        nanos = (int64_t)part.value;
    }
  /* What no clock says is no time. */
  if (seconds < 0 || seconds > INT64_MAX / 1000000000 - 1 || nanos < 0 || nanos > 999999999)
    return 0;
  return seconds * 1000000000 + nanos;
}
