/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The small codecs of gRPC over HTTP/2 (doc/PROTOCOL-HTTP2.md): timeouts, percent-encoded messages, base64
 * metadata, message prefixes.
 */
#pragma once

#include <gio/gio.h>

/** The prefix of a message: a compressed flag and a length, big endian. */
#define GRPC_PREFIX 5

/** Reads "100m", "5S", …: at most 8 digits and a unit of HMSmun. Returns: µs, at least 1 for anything but 0;
 * -1 if it is none. */
gint64 grpc_wire_parse_timeout (const char *text, gsize length);

/** Writes @us so that it never says more time than there is by more than a unit. @out: 16 bytes. */
void grpc_wire_format_timeout (gint64 us, char *out);

/** The value of grpc-message. Bytes outside of printable ASCII and "%" are encoded. Returns: (transfer full).
 */
char *grpc_wire_encode_message (const char *text);

/** And back; what is not an encoding stays as it is, what is not UTF-8 is replaced. Returns: (transfer full).
 */
char *grpc_wire_decode_message (const char *text, gsize length);

/** Base64 with or without padding. Returns: (transfer full) (nullable): NULL if it is none. */
GBytes *grpc_wire_decode_base64 (const char *text);

/** Base64 without padding. Returns: (transfer full). */
char *grpc_wire_encode_base64 (GBytes *bytes);

/** Whether a content-type is application/grpc, with "+…" or ";…" behind it or nothing. */
gboolean grpc_wire_is_grpc (const char *text, gsize length);

void grpc_wire_write_prefix (guint8 out[GRPC_PREFIX], gsize length);
