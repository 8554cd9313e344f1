/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wireconv.h"

#include <gantry/error.h>

#define NS 1000000000

Scratch *
scratch_new (void)
{
  return g_ptr_array_new_with_free_func (g_free);
}

gpointer
scratch_alloc (Scratch *self, gsize size)
{
  gpointer data = g_malloc0 (size);

  g_ptr_array_add (self, data);
  return data;
}

gpointer
scratch_message (Scratch *self, const ProtobufCMessageDescriptor *descriptor)
{
  ProtobufCMessage *message = scratch_alloc (self, descriptor->sizeof_message);

  protobuf_c_message_init (descriptor, message);
  return message;
}

void
wire_labels_out (Scratch *scratch, GVariant *labels, const ProtobufCMessageDescriptor *entry, size_t *ret_n,
                 gpointer ret_entries)
{
  gsize n = labels != NULL ? g_variant_n_children (labels) : 0;
  WireEntry **entries = scratch_alloc (scratch, sizeof *entries * (n + 1));

  for (gsize i = 0; i < n; i++)
    {
      entries[i] = scratch_message (scratch, entry);
      g_variant_get_child (labels, i, "{&s&s}", &entries[i]->key, &entries[i]->value);
    }
  *ret_n = n;
  *(WireEntry ***)ret_entries = entries;
}

GVariant *
wire_labels_in (size_t n, gpointer entries)
{
  WireEntry **all = entries;
  GVariantBuilder builder;

  if (n == 0)
    return NULL;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (size_t i = 0; i < n; i++)
    g_variant_builder_add (&builder, "{ss}", all[i]->key, all[i]->value);
  return g_variant_builder_end (&builder);
}

Containerd__Types__Mount **
wire_mounts_out (Scratch *scratch, GPtrArray *mounts, size_t *ret_n)
{
  Containerd__Types__Mount **messages = scratch_alloc (scratch, sizeof *messages * (mounts->len + 1));

  for (guint i = 0; i < mounts->len; i++)
    {
      GantryMount *mount = g_ptr_array_index (mounts, i);

      messages[i] = scratch_message (scratch, &containerd__types__mount__descriptor);
      messages[i]->type = WIRE_TEXT (mount->type);
      messages[i]->source = WIRE_TEXT (mount->source);
      messages[i]->target = WIRE_TEXT (mount->target);
      messages[i]->n_options = mount->options != NULL ? g_strv_length (mount->options) : 0;
      messages[i]->options = mount->options;
    }
  *ret_n = mounts->len;
  return messages;
}

GPtrArray *
wire_mounts_in (size_t n, Containerd__Types__Mount *const *mounts)
{
  GPtrArray *ret = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  for (size_t i = 0; i < n; i++)
    {
      g_autoptr (GPtrArray) options = g_ptr_array_new ();

      for (size_t k = 0; k < mounts[i]->n_options; k++)
        g_ptr_array_add (options, mounts[i]->options[k]);
      g_ptr_array_add (options, NULL);
      g_ptr_array_add (ret, gantry_mount_new (mounts[i]->type, mounts[i]->source,
                                              wire_text_or_null (mounts[i]->target),
                                              (const char *const *)options->pdata));
    }
  return ret;
}

Google__Protobuf__Timestamp *
wire_time_out (Scratch *scratch, gint64 ns)
{
  Google__Protobuf__Timestamp *timestamp;

  if (ns == 0)
    return NULL;
  timestamp = scratch_message (scratch, &google__protobuf__timestamp__descriptor);
  timestamp->seconds = ns / NS;
  timestamp->nanos = (gint32)(ns % NS);
  return timestamp;
}

gint64
wire_time_in (const Google__Protobuf__Timestamp *timestamp)
{
  if (timestamp == NULL)
    return 0;
  return CLAMP (timestamp->seconds, -(G_MAXINT64 / NS) + 1, G_MAXINT64 / NS - 1) * NS + timestamp->nanos;
}

Containerd__Types__Descriptor *
wire_descriptor_out (Scratch *scratch, GantryDescriptor *descriptor)
{
  Containerd__Types__Descriptor *message
      = scratch_message (scratch, &containerd__types__descriptor__descriptor);

  message->media_type = WIRE_TEXT (descriptor->media_type);
  message->digest = WIRE_TEXT (descriptor->digest);
  message->size = (gint64)descriptor->blob_size;
  wire_labels_out (scratch, descriptor->annotations,
                   &containerd__types__descriptor__annotations_entry__descriptor, &message->n_annotations,
                   &message->annotations);
  return message;
}

GantryDescriptor *
wire_descriptor_in (const Containerd__Types__Descriptor *message)
{
  return gantry_descriptor_new (message->media_type, message->digest, (guint64)MAX (message->size, 0),
                                wire_labels_in (message->n_annotations, message->annotations));
}

GBytes *
wire_pack (const ProtobufCMessage *message)
{
  gsize size = protobuf_c_message_get_packed_size (message);
  guint8 *data = g_malloc (size);

  protobuf_c_message_pack (message, data);
  return g_bytes_new_take (data, size);
}

gpointer
wire_unpack (const ProtobufCMessageDescriptor *descriptor, GBytes *bytes, GError **error)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);
  gpointer message = protobuf_c_message_unpack (descriptor, NULL, size, data);

  if (message == NULL)
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the message is no %s", descriptor->name);
  return message;
}
