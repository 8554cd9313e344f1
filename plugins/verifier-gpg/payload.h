/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a simple signature says. Source of the format: containers-signature(5). */
#pragma once

#include <glib.h>

typedef struct
{
  char *reference; /* critical.identity.docker-reference */
  char *digest;    /* critical.image.docker-manifest-digest */
} Payload;

void payload_clear (Payload *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Payload, payload_clear)

/** Reads a payload whose signature has been verified; anything unknown in "critical" is refused. Errors:
 * INVALID_ARGUMENT. */
gboolean payload_parse (const void *data, gsize length, Payload *ret_payload, GError **error);

/** The payload that says @reference is @digest, made now. Returns: (transfer full). */
GBytes *payload_new (const char *reference, const char *digest);
