/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Between messages and values of the SDK. What is made for a message lives in the call's arena or points into
 * a value that must live as long: keep it with call_keep (). */
#pragma once

#include "api-grpc.h"
#include "serialised.h"

typedef Google__Protobuf__Any Any;
typedef Google__Protobuf__Timestamp Timestamp;

/** Every map<string, string> is compiled to an entry of this shape. */
typedef struct
{
  ProtobufCMessage base;
  char *key;
  char *value;
} MapEntry;

/** And every map<string, Any> to this. */
typedef struct
{
  ProtobufCMessage base;
  char *key;
  Any *value;
} AnyEntry;

/** a{ss} of the map @entries of a request; of equal keys the last counts. Returns: (transfer floating). */
GVariant *labels_from_entries (gsize n, gpointer entries);

/** Fills a map of a reply; the strings belong to @labels (nullable). */
void labels_to_entries (Call *call, GVariant *labels, const ProtobufCMessageDescriptor *entry, gsize *ret_n,
                        gpointer ret_entries);

/** Called for each field of a record. @type: the characters of the value's type. */
typedef void (*FieldFunc) (Call *call, const char *name, Span type, Span value, gpointer message);

/** Visits @fields (nullable), a{sv}, once: looking up one field after the other would go through all of them
 * each time. */
void fields_visit (Call *call, GVariant *fields, FieldFunc func, gpointer message);

/** NULL for 0. */
Timestamp *timestamp_new (Call *call, gint64 ns);
/** 0 for NULL. */
gint64 timestamp_to_ns (const Timestamp *timestamp);

/** (say) as it is, bit for bit. Returns: (transfer floating) (nullable): NULL for NULL. */
GVariant *any_to_variant (const Any *any);
/** The same back; the bytes belong to @variant (nullable), which is (say). */
Any *any_from_variant (Call *call, GVariant *variant);
/** And from the serialised bytes of a (say), where they stand. */
Any *any_from_span (Call *call, Span span);
/** The any with @message in it, named by its type. */
Any *any_of_message (Call *call, const ProtobufCMessage *message);

/** a{s(say)}. Returns: (transfer floating). */
GVariant *anys_from_entries (gsize n, gpointer entries);
/** @anys: a serialised a{s(say)}. */
void anys_to_entries (Call *call, Span anys, const ProtobufCMessageDescriptor *entry, gsize *ret_n,
                      gpointer ret_entries);

/** Returns: (transfer full) (element-type GantryMount). */
GPtrArray *mounts_from_messages (gsize n, Containerd__Types__Mount *const *mounts);
/** The strings belong to @mount. */
Containerd__Types__Mount *mount_to_message (Call *call, GantryMount *mount);
/** The strings belong to @mounts. */
Containerd__Types__Mount **mounts_to_messages (Call *call, GPtrArray *mounts, gsize *ret_n);

/** Returns: (transfer full). */
GantryDescriptor *descriptor_from_message (const Containerd__Types__Descriptor *message);
/** The strings belong to @descriptor. */
Containerd__Types__Descriptor *descriptor_to_message (Call *call, GantryDescriptor *descriptor);

/** The paths of a field mask, or NULL if there are none: everything. NULL-terminated, in the arena. */
const char *const *mask_paths (Call *call, const Google__Protobuf__FieldMask *mask);

/** NULL-terminated, in the arena. */
const char *const *strings (Call *call, gsize n, char *const *texts);

/* content.c */
/** Whether @digest is one. Errors: INVALID_ARGUMENT by @format, which has one %s for it. */
gboolean content_check_digest (const char *digest, const char *format, GError **error);

/** "" is NULL. */
static inline const char *
non_empty (const char *text)
{
  return text != NULL && text[0] != '\0' ? text : NULL;
}

/** A string of a message, which it does not change. */
#define TEXT(text) ((char *)((text) != NULL ? (text) : ""))
