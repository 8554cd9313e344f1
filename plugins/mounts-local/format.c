/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * "{{ mount 0 }}" and its like: of containerd's templates the functions that its mounts use. */
#include "mounts-local.h"

#include <string.h>

static GantryActiveMount *
nth (GPtrArray *active, guint64 n, GError **error)
{
  if (n < active->len)
    return g_ptr_array_index (active, n);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "there is no mount %" G_GUINT64_FORMAT " before this one, only %u", n, active->len);
  return NULL;
}

static gboolean
put_overlay (GString *out, GPtrArray *active, guint64 first, guint64 last, GError **error)
{
  gint64 step = first <= last ? 1 : -1;

  if (nth (active, MAX (first, last), error) == NULL)
    return FALSE;
  for (gint64 i = (gint64)first;; i += step)
    {
      g_string_append_printf (out, "%s%s", i != (gint64)first ? ":" : "",
                              ((GantryActiveMount *)g_ptr_array_index (active, (guint)i))->mount_point);
      if (i == (gint64)last)
        return TRUE;
    }
}

static gboolean
put_call (GString *out, const char *call, GPtrArray *active, GError **error)
{
  g_auto (GStrv) words = g_strsplit_set (call, " \t", -1);
  const char *word[3] = { NULL };
  guint64 number[2] = { 0 };
  GantryActiveMount *one;
  guint n = 0;

  for (gsize i = 0; words[i] != NULL; i++)
    if (words[i][0] != '\0' && n < 3)
      word[n++] = words[i];
  for (guint i = 1; i < n; i++)
    if (!g_ascii_string_to_unsigned (word[i], 10, 0, MAX_MOUNTS, &number[i - 1], NULL))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "\"%s\" in \"{{%s}}\" is not the number of a mount", word[i], call);
  if (n == 3 && strcmp (word[0], "overlay") == 0)
    return put_overlay (out, active, number[0], number[1], error);
  if (n != 2
      || (strcmp (word[0], "mount") != 0 && strcmp (word[0], "source") != 0
          && strcmp (word[0], "target") != 0))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "\"{{%s}}\" is not known; there are mount N, source N, target N and overlay M N",
                         call);
  one = nth (active, number[0], error);
  if (one == NULL)
    return FALSE;
  g_string_append (out, word[0][0] == 'm'            ? one->mount_point
                        : word[0][0] == 's'          ? one->mount->source
                        : one->mount->target != NULL ? one->mount->target
                                                     : "");
  return TRUE;
}

char *
format_expand (const char *text, GPtrArray *active, GError **error)
{
  g_autoptr (GString) out = g_string_new (NULL);
  const char *begin;

  while ((begin = strstr (text, "{{")) != NULL)
    {
      const char *end = strstr (begin, "}}");
      g_autofree char *call = end != NULL ? g_strndup (begin + 2, (gsize)(end - begin - 2)) : NULL;

      if (call == NULL)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" has \"{{\" without \"}}\"", text);
          return NULL;
        }
      g_string_append_len (out, text, begin - text);
      if (!put_call (out, call, active, error))
        return NULL;
      text = end + 2;
    }
  g_string_append (out, text);
  return g_string_free (g_steal_pointer (&out), FALSE);
}
