/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every message of containerd's API as it comes from outside: the input is a type's name, a NUL and the
 * bytes; a name that is none stands for some type. What passes the check is unpacked within the promised
 * memory, and comes back the same. An Any inside is tried as the type that it names. */
#include "arena.h"
#include "check.h"

#include <gantry/error.h>
#include <protos.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *
find_type (const char *name, gsize length)
{
  guint hash = 0;

  for (gsize i = 0; i < PROTOS_N_MESSAGES; i++)
    if (strlen (protos_messages[i]->name) == length && memcmp (protos_messages[i]->name, name, length) == 0)
      return protos_messages[i];
  for (gsize i = 0; i < length; i++)
    hash = hash * 31 + (guchar)name[i];
  return protos_messages[hash % PROTOS_N_MESSAGES];
}

static void
try_message (const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size, guint depth)
{
  g_autoptr (GError) error = NULL;
  g_auto (Arena) arena;
  ProtobufCMessage *message;
  g_autofree uint8_t *packed = NULL;
  gsize packed_size;

  arena_init (&arena);
  if (!check_message (type, data, size, ARENA_MAX, &error))
    {
      if (error == NULL
          || (error->code != GANTRY_ERROR_INTERNAL && error->code != GANTRY_ERROR_RESOURCE_EXHAUSTED))
        g_error ("a message was refused without a reason");
      return;
    }
  message = protobuf_c_message_unpack (type, &arena.allocator, size, data);
  if (message == NULL)
    return;
  packed_size = protobuf_c_message_get_packed_size (message);
  packed = g_malloc (packed_size + 1);
  if (protobuf_c_message_pack (message, packed) != packed_size
      || !check_message (type, packed, packed_size, ARENA_MAX * 2, &error))
    g_error ("%s does not come back: %s", type->name, error != NULL ? error->message : "another size");
  if (type == &google__protobuf__any__descriptor && depth < 8)
    {
      Google__Protobuf__Any *any = (Google__Protobuf__Any *)message;

      try_message (find_type (any->type_url, strlen (any->type_url)), any->value.data, any->value.len,
                   depth + 1);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint8_t *end = memchr (data, '\0', size);
  gsize name = end != NULL ? (gsize)(end - data) : 0;

  if (end == NULL)
    return 0;
  try_message (find_type ((const char *)data, name), end + 1, size - name - 1, 0);
  return 0;
}
