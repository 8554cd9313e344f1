/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fields and labels of records read in place. The input is a value in GVariant's text format, then what is
 * read must be what GVariant reads; or it is bytes, then nothing is read outside of them. */
#include <stdint.h>
#include <string.h>

#include "serialised.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What a span says of a value of the types that records have, as text. */
static void
tell (GString *out, Span type, Span value)
{
  const char *first;
  Span second;

  if (span_is (type, "s"))
    g_string_append (out, span_string (value) != NULL ? span_string (value) : "(none)");
  else if (span_is (type, "(say)"))
    {
      if (span_pair (value, 1, &first, &second))
        g_string_append_printf (out, "%s %" G_GSIZE_FORMAT " %d", first, second.size,
                                second.size > 0 ? second.data[second.size - 1] : -1);
    }
  else if (span_is (type, "a{s(say)}"))
    for (gsize i = 0; i < span_array_length (value); i++)
      {
        if (span_pair (span_array_element (value, i, 1), 1, &first, &second))
          {
            g_string_append_printf (out, "%s: ", first);
            tell (out, (Span){ (const guint8 *)"(say)", 5 }, second);
          }
        g_string_append_c (out, ';');
      }
}

static char *
walk_fields (Span fields)
{
  GString *out = g_string_new (NULL);

  for (gsize i = 0; i < span_array_length (fields); i++)
    {
      const char *name;
      Span box, type, value;

      if (span_pair (span_array_element (fields, i, 8), 8, &name, &box) && span_variant (box, &type, &value))
        {
          g_string_append_printf (out, "%s=", name);
          tell (out, type, value);
          g_string_append_c (out, '\n');
        }
    }
  return g_string_free (out, FALSE);
}

static char *
walk_labels (Span labels)
{
  GString *out = g_string_new (NULL);

  for (gsize i = 0; i < span_array_length (labels); i++)
    {
      const char *key;
      Span value;

      if (span_pair (span_array_element (labels, i, 1), 1, &key, &value) && span_string (value) != NULL)
        g_string_append_printf (out, "%s=%s\n", key, span_string (value));
    }
  return g_string_free (out, FALSE);
}

/* The same by GVariant. */
static void
tell_variant (GString *out, GVariant *value)
{
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
    g_string_append (out, g_variant_get_string (value, NULL));
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE ("(say)")))
    {
      g_autoptr (GVariant) bytes = NULL;
      const char *url;
      const guint8 *data;
      gsize n;

      g_variant_get (value, "(&s@ay)", &url, &bytes);
      data = g_variant_get_fixed_array (bytes, &n, 1);
      g_string_append_printf (out, "%s %" G_GSIZE_FORMAT " %d", url, n, n > 0 ? data[n - 1] : -1);
    }
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE ("a{s(say)}")))
    for (gsize i = 0; i < g_variant_n_children (value); i++)
      {
        g_autoptr (GVariant) any = NULL;
        const char *key;

        g_variant_get_child (value, i, "{&s@(say)}", &key, &any);
        g_string_append_printf (out, "%s: ", key);
        tell_variant (out, any);
        g_string_append_c (out, ';');
      }
}

static char *
read_variant (GVariant *dict, gboolean fields)
{
  GString *out = g_string_new (NULL);

  for (gsize i = 0; i < g_variant_n_children (dict); i++)
    {
      g_autoptr (GVariant) value = NULL;
      const char *key;

      g_variant_get_child (dict, i, fields ? "{&sv}" : "{&s@s}", &key, &value);
      g_string_append_printf (out, "%s=", key);
      tell_variant (out, value);
      g_string_append_c (out, '\n');
    }
  return g_string_free (out, FALSE);
}

static void
compare (const char *text, const char *type, gboolean fields)
{
  g_autoptr (GVariant) dict = g_variant_parse (G_VARIANT_TYPE (type), text, NULL, NULL, NULL);
  g_autofree char *ours = NULL, *theirs = NULL;

  if (dict == NULL)
    return;
  ours = fields ? walk_fields (span_of (dict)) : walk_labels (span_of (dict));
  theirs = read_variant (dict, fields);
  if (strcmp (ours, theirs) != 0)
    g_error ("%s is read as\n%s, not as\n%s", text, ours, theirs);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autofree guint8 *exact = g_memdup2 (data, size); /* nothing behind it that could be read unnoticed */
  g_autofree char *fields G_GNUC_UNUSED = walk_fields ((Span){ exact, size }),
                          *labels G_GNUC_UNUSED = walk_labels ((Span){ exact, size });

  compare (text, "a{sv}", TRUE);
  compare (text, "a{ss}", FALSE);
  return 0;
}
