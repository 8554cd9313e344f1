/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The format: protobuf.dev, "Encoding". */
#include "check.h"

#include <gantry/error.h>
#include <string.h>

#define MAX_DEPTH 32

typedef struct
{
  gsize left; /* bytes of memory that may still be used */
  GError **error;
} Check;

typedef struct
{
  const guint8 *at;
  const guint8 *end;
} Bytes;

static gboolean
broken (Check *check, const char *what)
{
  return gantry_throw (check->error, GANTRY_ERROR_INTERNAL, "grpc: error unmarshalling request: %s", what);
}

static gboolean
read_varint (Bytes *bytes, guint64 *ret_value)
{
  guint64 value = 0;

  for (unsigned shift = 0; shift < 70 && bytes->at < bytes->end; shift += 7)
    {
      guint8 byte = *bytes->at++;

      if (shift < 64)
        value |= (guint64)(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0)
        {
          *ret_value = value;
          return TRUE;
        }
    }
  return FALSE;
}

static gboolean
spend (Check *check, gsize size)
{
  if (check->left < size)
    return gantry_throw (check->error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the request has so many parts that it takes too much memory; send less at once");
  check->left -= size;
  return TRUE;
}

static gboolean check_one (Check *check, const ProtobufCMessageDescriptor *descriptor, Bytes bytes,
                           unsigned depth);

static gboolean
check_delimited (Check *check, const ProtobufCFieldDescriptor *field, Bytes part, unsigned depth)
{
  gsize length = (gsize)(part.end - part.at);

  /* Scalars of a packed field take at most eight bytes for each of theirs. */
  if (!spend (check, field != NULL && field->label == PROTOBUF_C_LABEL_REPEATED
                             && field->type != PROTOBUF_C_TYPE_MESSAGE
                             && field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_BYTES
                         ? 8 * length
                         : length + 32))
    return FALSE;
  if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE)
    return check_one (check, field->descriptor, part, depth + 1);
  if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING
      && (memchr (part.at, '\0', length) != NULL
          || !g_utf8_validate_len ((const char *)part.at, length, NULL)))
    return broken (check, "string field contains invalid UTF-8");
  return TRUE;
}

static gboolean
check_field (Check *check, const ProtobufCMessageDescriptor *descriptor, Bytes *bytes, unsigned depth)
{
  const ProtobufCFieldDescriptor *field;
  guint64 tag, value;

  if (!read_varint (bytes, &tag) || tag >> 3 == 0 || tag > G_MAXUINT32)
    return broken (check, "proto: cannot parse invalid wire-format data");
  field = protobuf_c_message_descriptor_get_field (descriptor, (unsigned)(tag >> 3));
  switch (tag & 7)
    {
    case 0:
      return read_varint (bytes, &value) ? spend (check, 32)
                                         : broken (check, "proto: cannot parse invalid wire-format data");
    case 1:
    case 5:
      if (bytes->end - bytes->at < ((tag & 7) == 1 ? 8 : 4))
        return broken (check, "unexpected EOF");
      bytes->at += (tag & 7) == 1 ? 8 : 4;
      return spend (check, 32);
    case 2:
      if (!read_varint (bytes, &value) || value > (guint64)(bytes->end - bytes->at))
        return broken (check, "unexpected EOF");
      bytes->at += value;
      return check_delimited (check, field, (Bytes){ bytes->at - value, bytes->at }, depth);
    default:
      return broken (check, "proto: cannot parse reserved wire type");
    }
}

static gboolean
check_one (Check *check, const ProtobufCMessageDescriptor *descriptor, Bytes bytes, unsigned depth)
{
  if (depth > MAX_DEPTH)
    return broken (check, "exceeded max depth");
  if (!spend (check, descriptor->sizeof_message + 16))
    return FALSE;
  while (bytes.at < bytes.end)
    if (!check_field (check, descriptor, &bytes, depth))
      return FALSE;
  return TRUE;
}

gboolean
check_message (const ProtobufCMessageDescriptor *descriptor, gconstpointer data, gsize length, gsize max,
               GError **error)
{
  Check check = { max, error };

  return check_one (&check, descriptor, (Bytes){ data, (const guint8 *)data + length }, 0);
}
