/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Values of records read from their serialised form, in place. A list of thousands of records would otherwise
 * make and drop dozens of GVariants for each of them. Format: GLib's "GVariant Specification", sections 2.3
 * (serialisation) and 2.5 (framing offsets). Bytes that are not well-formed give empty spans and NULL, never
 * a read outside. */
#pragma once

#include <glib.h>

/** The bytes of one value; they belong to the GVariant that it was taken from. */
typedef struct
{
  const guint8 *data;
  gsize size;
} Span;

/** @variant: (nullable). */
Span span_of (GVariant *variant);

/** Of an array whose elements have no fixed size. */
gsize span_array_length (Span array);
/** The element @index of such an array; @alignment is that of the element's type. */
Span span_array_element (Span array, gsize index, gsize alignment);

/** The two parts of "{s?}" or "(s?)" whose second type has no fixed size. Returns: FALSE if it is none. */
gboolean span_pair (Span pair, gsize alignment, const char **ret_first, Span *ret_second);

/** What is in a "v", and the characters of its type. Returns: FALSE if it is none. */
gboolean span_variant (Span variant, Span *ret_type, Span *ret_value);

/** Whether @span has the characters of @text. */
gboolean span_is (Span span, const char *text);

/** An "s". Returns: NULL if it is none. */
const char *span_string (Span span);
