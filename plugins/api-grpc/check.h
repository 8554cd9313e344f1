/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes from outside, before they are unpacked: protobuf-c neither looks at UTF-8 nor bounds how much memory
 * small messages take. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/** Whether @data is a message of @descriptor, with strings of UTF-8 without NUL, and would not take more than
 * @max bytes unpacked. Errors: INTERNAL with grpc-go's words for broken messages; RESOURCE_EXHAUSTED. */
gboolean check_message (const ProtobufCMessageDescriptor *descriptor, gconstpointer data, gsize length,
                        gsize max, GError **error);
