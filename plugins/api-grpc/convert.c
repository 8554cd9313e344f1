/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "convert.h"

#include <string.h>

static int
compare_keys (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(const MapEntry *const *)a)->key, (*(const MapEntry *const *)b)->key);
}

/* @entries sorted by key, of equal keys the last. AnyEntry has its key at the same place. Returns: how many
 * are left. */
static gsize
sort_entries (gsize n, MapEntry **entries)
{
  g_autoptr (GHashTable) last = NULL;
  GHashTableIter iter;
  gpointer entry;
  gsize kept = 0;
  gboolean sorted = TRUE;

  /* Most come sorted, since Go writes maps so. */
  for (gsize i = 1; i < n && sorted; i++)
    sorted = strcmp (entries[i - 1]->key, entries[i]->key) < 0;
  if (sorted)
    return n;
  last = g_hash_table_new (g_str_hash, g_str_equal);
  for (gsize i = 0; i < n; i++)
    g_hash_table_insert (last, entries[i]->key, entries[i]);
  g_hash_table_iter_init (&iter, last);
  while (g_hash_table_iter_next (&iter, NULL, &entry))
    entries[kept++] = entry;
  qsort (entries, kept, sizeof *entries, compare_keys);
  return kept;
}

GVariant *
labels_from_entries (gsize n, gpointer entries)
{
  MapEntry **sorted = entries;
  GVariantBuilder builder;

  n = sort_entries (n, sorted);
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (gsize i = 0; i < n; i++)
    g_variant_builder_add (&builder, "{ss}", sorted[i]->key, sorted[i]->value);
  return g_variant_builder_end (&builder);
}

void
labels_to_entries (Call *call, GVariant *labels, const ProtobufCMessageDescriptor *entry, gsize *ret_n,
                   gpointer ret_entries)
{
  Span array = span_of (labels);
  gsize n = span_array_length (array);
  MapEntry **entries = arena_new (call->arena, MapEntry *, n + 1);

  for (gsize i = 0; i < n; i++)
    {
      const char *key = NULL;
      Span value = { NULL, 0 };

      /* The strings stand in the bytes of @labels. */
      span_pair (span_array_element (array, i, 1), 1, &key, &value);
      entries[i] = message_new (call, entry);
      entries[i]->key = TEXT (key);
      entries[i]->value = TEXT (span_string (value));
    }
  *ret_n = n;
  *(MapEntry ***)ret_entries = entries;
}

void
fields_visit (Call *call, GVariant *fields, FieldFunc func, gpointer message)
{
  Span array = span_of (fields);
  gsize n = span_array_length (array);

  for (gsize i = 0; i < n; i++)
    {
      const char *name;
      Span box, type, value;

      if (span_pair (span_array_element (array, i, 8), 8, &name, &box) && span_variant (box, &type, &value))
        func (call, name, type, value, message);
    }
}

Timestamp *
timestamp_new (Call *call, gint64 ns)
{
  Timestamp *timestamp;

  if (ns == 0)
    return NULL;
  timestamp = message_new (call, &google__protobuf__timestamp__descriptor);
  timestamp->seconds = ns / 1000000000;
  timestamp->nanos = (gint32)(ns % 1000000000);
  if (timestamp->nanos < 0)
    {
      timestamp->nanos += 1000000000;
      timestamp->seconds--;
    }
  return timestamp;
}

gint64
timestamp_to_ns (const Timestamp *timestamp)
{
  if (timestamp == NULL)
    return 0;
  return CLAMP (timestamp->seconds, -G_MAXINT64 / 1000000000 + 1, G_MAXINT64 / 1000000000 - 1) * 1000000000
         + timestamp->nanos;
}

GVariant *
any_to_variant (const Any *any)
{
  GVariant *bytes;

  if (any == NULL)
    return NULL;
  bytes = g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, any->value.data, any->value.len, 1);
  return g_variant_new ("(s@ay)", any->type_url, bytes);
}

Any *
any_from_variant (Call *call, GVariant *variant)
{
  return variant != NULL ? any_from_span (call, span_of (variant)) : NULL;
}

Any *
any_from_span (Call *call, Span span)
{
  Any *any = message_new (call, &google__protobuf__any__descriptor);
  const char *url;
  Span bytes;

  if (!span_pair (span, 1, &url, &bytes))
    return any;
  any->type_url = (char *)url;
  any->value.data = (guint8 *)bytes.data;
  any->value.len = bytes.size;
  return any;
}

Any *
any_of_message (Call *call, const ProtobufCMessage *message)
{
  Any *any = message_new (call, &google__protobuf__any__descriptor);

  any->type_url = (char *)message->descriptor->name;
  any->value.len = protobuf_c_message_get_packed_size (message);
  any->value.data = arena_alloc (call->arena, any->value.len);
  protobuf_c_message_pack (message, any->value.data);
  return any;
}

GVariant *
anys_from_entries (gsize n, gpointer entries)
{
  AnyEntry **sorted = entries;
  GVariantBuilder builder;

  n = sort_entries (n, entries);
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{s(say)}"));
  for (gsize i = 0; i < n; i++)
    {
      static const Any empty = GOOGLE__PROTOBUF__ANY__INIT;

      g_variant_builder_add (&builder, "{s@(say)}", sorted[i]->key,
                             any_to_variant (sorted[i]->value != NULL ? sorted[i]->value : &empty));
    }
  return g_variant_builder_end (&builder);
}

void
anys_to_entries (Call *call, Span anys, const ProtobufCMessageDescriptor *entry, gsize *ret_n,
                 gpointer ret_entries)
{
  gsize n = span_array_length (anys);
  AnyEntry **entries = arena_new (call->arena, AnyEntry *, n + 1);

  for (gsize i = 0; i < n; i++)
    {
      const char *key = NULL;
      Span any = { NULL, 0 };

      span_pair (span_array_element (anys, i, 1), 1, &key, &any);
      entries[i] = message_new (call, entry);
      entries[i]->key = TEXT (key);
      entries[i]->value = any_from_span (call, any);
    }
  *ret_n = n;
  *(AnyEntry ***)ret_entries = entries;
}

GPtrArray *
mounts_from_messages (gsize n, Containerd__Types__Mount *const *mounts)
{
  GPtrArray *array = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  for (gsize i = 0; i < n; i++)
    {
      const Containerd__Types__Mount *mount = mounts[i];
      g_autofree const char **options = g_new0 (const char *, mount->n_options + 1);

      for (gsize j = 0; j < mount->n_options; j++)
        options[j] = mount->options[j];
      g_ptr_array_add (array,
                       gantry_mount_new (mount->type, mount->source, non_empty (mount->target), options));
    }
  return array;
}

Containerd__Types__Mount *
mount_to_message (Call *call, GantryMount *mount)
{
  Containerd__Types__Mount *message = message_new (call, &containerd__types__mount__descriptor);

  message->type = TEXT (mount->type);
  message->source = TEXT (mount->source);
  message->target = TEXT (mount->target);
  message->n_options = mount->options != NULL ? g_strv_length (mount->options) : 0;
  message->options = mount->options;
  return message;
}

Containerd__Types__Mount **
mounts_to_messages (Call *call, GPtrArray *mounts, gsize *ret_n)
{
  Containerd__Types__Mount **messages = arena_new (call->arena, Containerd__Types__Mount *, mounts->len + 1);

  for (guint i = 0; i < mounts->len; i++)
    messages[i] = mount_to_message (call, g_ptr_array_index (mounts, i));
  *ret_n = mounts->len;
  return messages;
}

GantryDescriptor *
descriptor_from_message (const Containerd__Types__Descriptor *message)
{
  return gantry_descriptor_new (message->media_type, message->digest, (guint64)message->size,
                                message->n_annotations > 0
                                    ? labels_from_entries (message->n_annotations, message->annotations)
                                    : NULL);
}

Containerd__Types__Descriptor *
descriptor_to_message (Call *call, GantryDescriptor *descriptor)
{
  Containerd__Types__Descriptor *message = message_new (call, &containerd__types__descriptor__descriptor);

  message->media_type = TEXT (descriptor->media_type);
  message->digest = TEXT (descriptor->digest);
  message->size = (gint64)descriptor->blob_size;
  labels_to_entries (call, descriptor->annotations,
                     &containerd__types__descriptor__annotations_entry__descriptor, &message->n_annotations,
                     &message->annotations);
  return message;
}

const char *const *
mask_paths (Call *call, const Google__Protobuf__FieldMask *mask)
{
  return mask != NULL && mask->n_paths > 0 ? strings (call, mask->n_paths, mask->paths) : NULL;
}

const char *const *
strings (Call *call, gsize n, char *const *texts)
{
  const char **array = arena_new (call->arena, const char *, n + 1);

  for (gsize i = 0; i < n; i++)
    array[i] = texts[i];
  return array;
}
