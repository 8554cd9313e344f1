/* SPDX-License-Identifier: MIT
 *
 * What several fakes share: labels under a mask, and the filter language of types.h. */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

/** Checks the keys of @mask (nullable) and the sizes of @labels (nullable a{ss}). Errors: INVALID_ARGUMENT.
 */
gboolean gantry_fake_labels_check (GVariant *labels, const char *const *mask, GError **error);

/** @old with those entries of @labels that @mask names, all if it is NULL. All but the result are nullable.
 * An empty value takes the label away where the mask names it alone. Returns: (transfer full). */
GVariant *gantry_fake_labels_merge (GVariant *old, GVariant *labels, const char *const *mask);

/** Whether the name @name can be one. @what: "a snapshot key". Errors: INVALID_ARGUMENT. */
gboolean gantry_fake_name_check (const char *what, const char *name, GError **error);

/** Sets CANCELLED if @cancellable is. */
gboolean gantry_fake_check_cancelled (GCancellable *cancellable, GError **error);

/** "sha256:<hex>" of @data. Returns: (transfer full). */
char *gantry_fake_digest (gconstpointer data, gsize length);

typedef struct _GantryFakeFilter GantryFakeFilter;

/** The value of the field @path[0] (of "labels": of the key @path[1]) of @object, or NULL. */
typedef const char *(*GantryFakeField) (char **path, gpointer object);

/** Parses @filters (nullable). Errors: INVALID_ARGUMENT. Returns: (transfer full). */
GantryFakeFilter *gantry_fake_filter_new (const char *const *filters, GError **error);
void gantry_fake_filter_free (GantryFakeFilter *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryFakeFilter, gantry_fake_filter_free)

gboolean gantry_fake_filter_match (GantryFakeFilter *self, GantryFakeField field, gpointer object);

G_END_DECLS
