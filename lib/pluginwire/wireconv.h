/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol of plugins that run elsewhere is containerd's snapshots, content and diff services (containerd
 * docs/PLUGINS.md, "Proxy plugins"). This is between its messages and values of the SDK, for the proxies that
 * call and for the host that serves.
 */
#pragma once

#include <gantry/types.h>
#include <protos.h>

/** What is made for a message lives in a Scratch and goes with it. */
typedef GPtrArray Scratch;

Scratch *scratch_new (void);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Scratch, g_ptr_array_unref)
gpointer scratch_alloc (Scratch *self, gsize size);

/** A zero message of @descriptor. */
gpointer scratch_message (Scratch *self, const ProtobufCMessageDescriptor *descriptor);

/** Every map<string, string> has entries of this shape. */
typedef struct
{
  ProtobufCMessage base;
  char *key;
  char *value;
} WireEntry;

/** The strings belong to @labels (nullable: a{ss}). */
void wire_labels_out (Scratch *scratch, GVariant *labels, const ProtobufCMessageDescriptor *entry,
                      size_t *ret_n, gpointer ret_entries);
/** Returns: (transfer floating) (nullable): NULL if there are none. */
GVariant *wire_labels_in (size_t n, gpointer entries);

/** The strings belong to @mounts. */
Containerd__Types__Mount **wire_mounts_out (Scratch *scratch, GPtrArray *mounts, size_t *ret_n);
/** Returns: (transfer full) (element-type GantryMount). */
GPtrArray *wire_mounts_in (size_t n, Containerd__Types__Mount *const *mounts);

Google__Protobuf__Timestamp *wire_time_out (Scratch *scratch, gint64 ns);
gint64 wire_time_in (const Google__Protobuf__Timestamp *timestamp);

/** The strings belong to @descriptor. */
Containerd__Types__Descriptor *wire_descriptor_out (Scratch *scratch, GantryDescriptor *descriptor);
/** Returns: (transfer full). */
GantryDescriptor *wire_descriptor_in (const Containerd__Types__Descriptor *message);

GBytes *wire_pack (const ProtobufCMessage *message);
/** Errors: INVALID_ARGUMENT. Returns: (transfer full): protobuf_c_message_free_unpacked (). */
gpointer wire_unpack (const ProtobufCMessageDescriptor *descriptor, GBytes *bytes, GError **error);

static inline void
wire_message_free (gpointer message)
{
  if (message != NULL)
    protobuf_c_message_free_unpacked (message, NULL);
}

/** A field's text; NULL is "". */
#define WIRE_TEXT(text) ((char *)((text) != NULL ? (text) : ""))

/** And back: "" is NULL. */
static inline const char *
wire_text_or_null (const char *text)
{
  return text != NULL && text[0] != '\0' ? text : NULL;
}
