/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where signatures are kept: "lookaside" stores, which registries.d names for each registry. Source of the
 * formats: containers-registries.d(5); a store has <server>/<repository>@<algorithm>=<hex>/signature-<1, 2,
 * …>. */
#pragma once

#include <reference.h>

/** The most signatures of one image, and the largest one in bytes. */
#define LOOKASIDE_MAX_SIGNATURES 64
#define LOOKASIDE_MAX_BYTES      (1024 * 1024)

/** The built-in store of root. */
#define LOOKASIDE_DEFAULT "file:///var/lib/containers/sigstore"

/** A signature as it was found. */
typedef struct
{
  GBytes *data;
  char *source; /* for people: a URL */
} Signature;

void signature_free (gpointer data);

/** The stores for @reference by the files in @directory (one that does not exist has none). *@ret_read:
 * (transfer full) (nullable): none.
 * *@ret_write: (transfer full) (nullable). Errors: FAILED_PRECONDITION, naming the file. */
gboolean lookaside_find (const char *directory, const GantryReference *reference, char **ret_read,
                         char **ret_write, GError **error);

/** Reads one file of registries.d into @sections (of its own kind, see registries_d_new_sections ()). @file:
 * its name, for errors. Errors: FAILED_PRECONDITION. */
gboolean registries_d_parse (GHashTable *sections, const char *file, GBytes *bytes, GError **error);
GHashTable *registries_d_new_sections (void);

/** Adds to @signatures (element-type Signature) what the store @url has for @digest of the repository of
 * @reference. Nothing there is a success. Blocks: on the network for http and https. Errors: UNAVAILABLE,
 * RESOURCE_EXHAUSTED, INVALID_ARGUMENT (the URL). */
gboolean lookaside_read (const char *url, const GantryReference *reference, const char *digest,
                         GPtrArray *signatures, GCancellable *cancellable, GError **error);

/** Adds @signature to the store @url. *@ret_location: (transfer full): its path. Errors: FAILED_PRECONDITION
 * (the store is not local), of I/O. */
gboolean lookaside_write (const char *url, const GantryReference *reference, const char *digest,
                          GBytes *signature, char **ret_location, GError **error);
