/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "serialised.h"

#include <string.h>

Span
span_of (GVariant *variant)
{
  return variant != NULL ? (Span){ g_variant_get_data (variant), g_variant_get_size (variant) }
                         : (Span){ NULL, 0 };
}

/* How wide the framing offsets of a container of @size bytes are. */
static gsize
offset_width (gsize size)
{
  return size <= G_MAXUINT8 ? 1 : size <= G_MAXUINT16 ? 2 : size <= G_MAXUINT32 ? 4 : 8;
}

/* Framing offsets are little-endian on every machine. */
static gsize
read_offset (const guint8 *at, gsize width)
{
  guint64 value = 0;

  memcpy (&value, at, width);
  return (gsize)GUINT64_FROM_LE (value);
}

static gsize
align (gsize offset, gsize alignment)
{
  return (offset + alignment - 1) & ~(alignment - 1);
}

static Span
sub_span (Span span, gsize from, gsize to)
{
  return from <= to && to <= span.size ? (Span){ span.data + from, to - from } : (Span){ NULL, 0 };
}

/* Where the elements end and the offsets begin. Returns: the array's size if there are none. */
static gsize
offsets_of (Span array)
{
  gsize width = offset_width (array.size), end;

  if (array.size < width)
    return array.size;
  end = read_offset (array.data + array.size - width, width);
  return end < array.size && (array.size - end) % width == 0 ? end : array.size;
}

gsize
span_array_length (Span array)
{
  return array.size > 0 ? (array.size - offsets_of (array)) / offset_width (array.size) : 0;
}

Span
span_array_element (Span array, gsize index, gsize alignment)
{
  gsize width = offset_width (array.size), offsets = offsets_of (array), from = 0, to;

  if (index >= (array.size - offsets) / width)
    return (Span){ NULL, 0 };
  if (index > 0)
    from = align (read_offset (array.data + offsets + (index - 1) * width, width), alignment);
  to = read_offset (array.data + offsets + index * width, width);
  return to <= offsets ? sub_span (array, from, to) : (Span){ NULL, 0 };
}

const char *
span_string (Span span)
{
  return span.size > 0 && span.data[span.size - 1] == '\0' ? (const char *)span.data : NULL;
}

gboolean
span_pair (Span pair, gsize alignment, const char **ret_first, Span *ret_second)
{
  gsize width = offset_width (pair.size), end;

  if (pair.size < width)
    return FALSE;
  end = read_offset (pair.data + pair.size - width, width);
  *ret_first = span_string (sub_span (pair, 0, end));
  *ret_second = sub_span (pair, align (end, alignment), pair.size - width);
  return *ret_first != NULL && ret_second->data != NULL;
}

gboolean
span_variant (Span variant, Span *ret_type, Span *ret_value)
{
  gsize at = variant.size;

  while (at > 0 && variant.data[at - 1] != '\0')
    at--;
  /* The type string has no NUL of its own: what follows the value's separator, up to the end, is it. */
  if (at == 0 || at == variant.size)
    return FALSE;
  *ret_type = (Span){ variant.data + at, variant.size - at };
  *ret_value = (Span){ variant.data, at - 1 };
  return TRUE;
}

gboolean
span_is (Span span, const char *text)
{
  return strlen (text) == span.size && memcmp (span.data, text, span.size) == 0;
}
