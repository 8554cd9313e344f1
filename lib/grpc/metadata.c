/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metadata.h"

#include <string.h>

#include "wire.h"

/* One allocation a pair: name NUL value NUL. */
typedef struct
{
  char *name;
  gsize value;
} Pair;

struct _GrpcMetadata
{
  gint refs; /* atomic */
  GArray *pairs;
};

static void
pair_clear (gpointer data)
{
  g_free (((Pair *)data)->name);
}

GrpcMetadata *
grpc_metadata_new (void)
{
  GrpcMetadata *self = g_new0 (GrpcMetadata, 1);

  self->refs = 1;
  self->pairs = g_array_new (FALSE, FALSE, sizeof (Pair));
  g_array_set_clear_func (self->pairs, pair_clear);
  return self;
}

GrpcMetadata *
grpc_metadata_ref (GrpcMetadata *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
grpc_metadata_unref (GrpcMetadata *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  g_array_unref (self->pairs);
  g_free (self);
}

void
grpc_metadata_append_raw (GrpcMetadata *self, const char *name, gsize name_length, const char *value,
                          gsize value_length)
{
  Pair pair = { g_malloc (name_length + value_length + 2), name_length + 1 };

  memcpy (pair.name, name, name_length);
  pair.name[name_length] = '\0';
  memcpy (pair.name + pair.value, value, value_length);
  pair.name[pair.value + value_length] = '\0';
  g_array_append_val (self->pairs, pair);
}

static gboolean
is_name (const char *name)
{
  static const char *const reserved[] = { "content-type", "te", "host", "connection", "transfer-encoding" };

  if (*name == '\0' || strlen (name) > 1024 || g_str_has_prefix (name, "grpc-"))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (reserved); i++)
    if (strcmp (name, reserved[i]) == 0)
      return FALSE;
  return strspn (name, "0123456789abcdefghijklmnopqrstuvwxyz_.-") == strlen (name);
}

gboolean
grpc_metadata_append (GrpcMetadata *self, const char *name, const char *value)
{
  if (!is_name (name) || g_str_has_suffix (name, "-bin"))
    return FALSE;
  for (const char *p = value; *p != '\0'; p++)
    if (*p < ' ' || *p > '~')
      return FALSE;
  grpc_metadata_append_raw (self, name, strlen (name), value, strlen (value));
  return TRUE;
}

gboolean
grpc_metadata_append_binary (GrpcMetadata *self, const char *name, GBytes *value)
{
  g_autofree char *text = NULL;

  if (!is_name (name) || !g_str_has_suffix (name, "-bin"))
    return FALSE;
  text = grpc_wire_encode_base64 (value);
  grpc_metadata_append_raw (self, name, strlen (name), text, strlen (text));
  return TRUE;
}

const char *
grpc_metadata_get (const GrpcMetadata *self, const char *name)
{
  for (guint i = 0; i < self->pairs->len; i++)
    {
      const Pair *pair = &g_array_index (self->pairs, Pair, i);

      if (strcmp (pair->name, name) == 0)
        return pair->name + pair->value;
    }
  return NULL;
}

GBytes *
grpc_metadata_dup_binary (const GrpcMetadata *self, const char *name)
{
  const char *text = grpc_metadata_get (self, name);

  return text != NULL ? grpc_wire_decode_base64 (text) : NULL;
}

guint
grpc_metadata_get_n (const GrpcMetadata *self)
{
  return self->pairs->len;
}

void
grpc_metadata_get_pair (const GrpcMetadata *self, guint index, const char **ret_name, const char **ret_value)
{
  const Pair *pair;

  g_return_if_fail (index < self->pairs->len);
  pair = &g_array_index (self->pairs, Pair, index);
  *ret_name = pair->name;
  *ret_value = pair->name + pair->value;
}
