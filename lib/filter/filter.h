/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd's filter language (its docs: package filters): a filter is selectors joined by ",", all of which
 * must hold; a selector is a field path with an optional operator and value:
 *
 *     name                          is present
 *     name==foo   name!=foo         compares
 *     labels."a.b/c"~=^x            matches a POSIX-like regular expression (here: PCRE)
 *
 * A value or a field part is a bare word of [A-Za-z0-9_] and, for values, of "-+.:/@" and the like, or quoted
 * as in Go ("…", with escapes; values also by / or | after ~=). Several filters are an OR. Immutable once
 * made; may be used from any thread.
 */
#pragma once

#include <glib.h>

typedef struct _GantryFilter GantryFilter;

/** The value of the field @path (n_path parts: {"labels", "a.b/c"}) of @object, or NULL if it has none.
 * Returns: (transfer none) (nullable): valid until the next call. */
typedef const char *(*GantryFilterField) (const char *const *path, guint n_path, gpointer object);

/** Parses @filters (nullable or empty: matches everything). Errors: INVALID_ARGUMENT with the place. Returns:
 * (transfer full). */
GantryFilter *gantry_filter_new (const char *const *filters, GError **error) G_GNUC_WARN_UNUSED_RESULT;

void gantry_filter_free (GantryFilter *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryFilter, gantry_filter_free)

/** Whether @object matches. */
gboolean gantry_filter_match (GantryFilter *self, GantryFilterField field, gpointer object);

/** Whether it matches everything. */
gboolean gantry_filter_is_all (GantryFilter *self);

/** A == of a filter that an index could answer. */
typedef struct
{
  const char *const *path; /**< n_path parts, as GantryFilterField gets them */
  guint n_path;
  const char *value;
} GantryFilterEqual;

/** For each alternative one == on a field that @accept approves of: what matches is among what those find.
 * Returns: (transfer container) (element-type GantryFilterEqual) (nullable): valid as long as the filter;
 * NULL if an alternative has none, or there is no alternative: then everything has to be looked at. */
GArray *gantry_filter_get_equals (GantryFilter *self,
                                  gboolean (*accept) (const char *const *path, guint n_path));
