/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Hashing blobs, by OpenSSL: a part (part.h), since a daemon that has nothing to write does not need
 * libcrypto, a tenth of its memory at rest. */
#pragma once

#include <part.h>

/** A digest that is being computed. */
typedef struct _Hash Hash;

typedef struct
{
  /** @algorithm: "sha256", … Errors: INTERNAL: it is not had. Returns: (transfer full). */
  Hash *(*start) (const char *algorithm, GError **error);
  gboolean (*update) (Hash *self, gconstpointer data, gsize length);
  /** Of what has come; more may come. Returns: (transfer full): in hexadecimal digits. */
  char *(*to_hex) (Hash *self);
  /** Accepts NULL. */
  void (*free) (Hash *self);
} Hashing;
