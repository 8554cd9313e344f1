/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Answers with many items. They are packed as they grow: 100,000 records need neither a copy of each nor all
 * of them at once. */
#include "convert.h"

typedef struct
{
  Call *call;
  GByteArray *packed;
  unsigned field;
  RecordMessage to_message;
  const char *instead;
  GError *error;
} List;

static gsize
put_varint (guint8 *out, guint64 value)
{
  gsize n = 0;

  for (; value >= 0x80; value >>= 7)
    out[n++] = (guint8)(value | 0x80);
  out[n++] = (guint8)value;
  return n;
}

gboolean
append_item (GByteArray *packed, unsigned field, const ProtobufCMessage *item)
{
  gsize size = protobuf_c_message_get_packed_size (item);
  guint8 head[20];
  gsize n = put_varint (head, (guint64)field << 3 | 2);
  guint at = packed->len;

  n += put_varint (head + n, size);
  if (packed->len + n + size > MAX_MESSAGE)
    return FALSE;
  g_byte_array_append (packed, head, (guint)n);
  g_byte_array_set_size (packed, (guint)(at + n + size));
  protobuf_c_message_pack (item, packed->data + at + n);
  return TRUE;
}

static gboolean
on_record (GantryRecord *record, gpointer user_data)
{
  List *list = user_data;
  g_auto (Arena) arena;
  Call item = *list->call;

  arena_init (&arena);
  item.arena = &arena;
  return append_item (list->packed, list->field, list->to_message (&item, record))
         || throw_too_long (&list->error, list->instead);
}

gboolean
throw_too_long (GError **error, const char *instead)
{
  return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                       "the list does not fit into one message of %d MiB; ask for less by a filter%s%s",
                       MAX_MESSAGE >> 20, instead != NULL ? ", or call " : "",
                       instead != NULL ? instead : "");
}

const ProtobufCMessage *
list_records (Call *call, const char *kind, const char *ns, const char *const *filters, unsigned field,
              RecordMessage to_message, const char *instead, GError **error)
{
  List list = { call, g_byte_array_new (), field, to_message, instead, NULL };
  gboolean ok = gantry_metadata_list (call->api->metadata, kind, ns, filters, NULL, 0, on_record, &list,
                                      call->cancellable, error);

  if (ok && list.error != NULL)
    {
      g_propagate_error (error, list.error);
      ok = FALSE;
    }
  if (!ok)
    {
      g_byte_array_unref (list.packed);
      return NULL;
    }
  call->packed = g_byte_array_free_to_bytes (list.packed);
  return reply_empty (call);
}

typedef struct
{
  GPtrArray *messages;
  guint next;
} Stream;

static void
stream_free (gpointer data)
{
  Stream *stream = data;

  g_ptr_array_unref (stream->messages);
  g_free (stream);
}

static void
stream_more (GrpcCall *grpc, gpointer data)
{
  Stream *stream = data;

  while (stream->next < stream->messages->len && grpc_call_is_writable (grpc))
    {
      if (!grpc_call_send (grpc, g_ptr_array_index (stream->messages, stream->next), NULL))
        return;
      /* Sent is no longer needed here. */
      g_clear_pointer (&g_ptr_array_index (stream->messages, stream->next), g_bytes_unref);
      stream->next++;
    }
  if (stream->next == stream->messages->len)
    grpc_call_finish (grpc, NULL);
}

static void
free_message (gpointer data)
{
  if (data != NULL)
    g_bytes_unref (data);
}

void
stream_messages (GrpcCall *grpc, GPtrArray *messages)
{
  static const GrpcCallHandlers handlers = { .on_writable = stream_more };
  Stream *stream = g_new0 (Stream, 1);

  g_ptr_array_set_free_func (messages, free_message);
  stream->messages = messages;
  grpc_call_set_handlers (grpc, &handlers, stream, stream_free);
  stream_more (grpc, stream);
}
