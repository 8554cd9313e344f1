/* SPDX-License-Identifier: MIT */
#include "fake-support.h"

#include <string.h>

#define LABELS     "labels"
#define LABELS_DOT "labels."

gboolean
gantry_fake_check_cancelled (GCancellable *cancellable, GError **error)
{
  return !g_cancellable_is_cancelled (cancellable)
         || gantry_throw (error, GANTRY_ERROR_CANCELLED, "the operation was cancelled");
}

gboolean
gantry_fake_name_check (const char *what, const char *name, GError **error)
{
  if (name == NULL || name[0] == '\0' || strlen (name) > 2 * GANTRY_MAX_NAME
      || !g_utf8_validate (name, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s has 1 to %d characters of UTF-8", what,
                         2 * GANTRY_MAX_NAME);
  return TRUE;
}

gboolean
gantry_fake_labels_check (GVariant *labels, const char *const *mask, GError **error)
{
  GVariantIter iter;
  const char *key, *value;

  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], LABELS) != 0 && !g_str_has_prefix (mask[i], LABELS_DOT))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "only labels can be updated, not \"%s\"",
                           mask[i]);
  if (labels == NULL)
    return TRUE;
  g_variant_iter_init (&iter, labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (strlen (key) + strlen (value) > GANTRY_MAX_LABEL)
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the label %.10s is longer than %d bytes",
                           key, GANTRY_MAX_LABEL);
  return TRUE;
}

/* What @mask has to say of @key: 0: nothing, 1: alone, 2: with all others. */
static int
masked (const char *const *mask, const char *key)
{
  g_autofree char *field = g_strconcat (LABELS_DOT, key, NULL);

  if (mask == NULL || g_strv_contains (mask, LABELS))
    return 2;
  return g_strv_contains (mask, field) ? 1 : 0;
}

GVariant *
gantry_fake_labels_merge (GVariant *old, GVariant *labels, const char *const *mask)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  if (old != NULL)
    {
      g_variant_iter_init (&iter, old);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        if (masked (mask, key) == 0)
          g_variant_builder_add (&builder, "{ss}", key, value);
    }
  if (labels != NULL)
    {
      g_variant_iter_init (&iter, labels);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        if (masked (mask, key) == 2 || (masked (mask, key) == 1 && value[0] != '\0'))
          g_variant_builder_add (&builder, "{ss}", key, value);
    }
  return gantry_variant_keep (g_variant_builder_end (&builder));
}

/* Filters. */

typedef struct
{
  char **path; /* one part, or "labels" and a key */
  char op;     /* 0: is there; '=', '!', '~' */
  char *value;
  GRegex *regex; /* of '~' */
} Selector;

struct _GantryFakeFilter
{
  GPtrArray *alternatives; /* of GPtrArray of Selector: all of one have to hold */
};

static void
selector_free (gpointer data)
{
  Selector *self = data;

  g_strfreev (self->path);
  g_free (self->value);
  g_clear_pointer (&self->regex, g_regex_unref);
  g_free (self);
}

/* A word up to one of @ends, or a quoted one. Returns: (transfer full) (nullable). */
static char *
take_word (const char **at, const char *ends)
{
  g_autoptr (GString) word = g_string_new (NULL);

  if (**at != '"')
    {
      gsize n = strcspn (*at, ends);

      g_string_append_len (word, *at, (gssize)n);
      *at += n;
      return g_string_free (g_steal_pointer (&word), FALSE);
    }
  for ((*at)++; **at != '"'; (*at)++)
    {
      if (**at == '\\' && (*at)[1] != '\0')
        (*at)++;
      if (**at == '\0')
        return NULL;
      g_string_append_c (word, **at);
    }
  (*at)++;
  return g_string_free (g_steal_pointer (&word), FALSE);
}

static gboolean
parse_path (const char **at, Selector *self)
{
  GPtrArray *path = g_ptr_array_new ();
  gboolean ok = TRUE;

  do
    {
      char *part;

      if (path->len > 0)
        (*at)++;
      part = take_word (at, ".,=!~\"");
      ok = part != NULL && part[0] != '\0';
      g_ptr_array_add (path, part);
    }
  while (ok && **at == '.');
  g_ptr_array_add (path, NULL);
  self->path = (char **)g_ptr_array_free (path, FALSE);
  return ok;
}

static gboolean
parse_selector (const char **at, Selector *self)
{
  if (!parse_path (at, self))
    return FALSE;
  if (**at == ',' || **at == '\0')
    return TRUE;
  self->op = **at;
  if (strchr ("=!~", self->op) == NULL || (*at)[1] != '=')
    return FALSE;
  *at += 2;
  self->value = take_word (at, ",");
  if (self->value != NULL && self->op == '~')
    self->regex = g_regex_new (self->value, 0, 0, NULL);
  return self->value != NULL && (self->op != '~' || self->regex != NULL) && (**at == ',' || **at == '\0');
}

static GPtrArray *
parse_filter (const char *text, GError **error)
{
  g_autoptr (GPtrArray) selectors = g_ptr_array_new_with_free_func (selector_free);
  const char *at = text;

  while (*at != '\0')
    {
      Selector *selector = g_new0 (Selector, 1);

      g_ptr_array_add (selectors, selector);
      if (!parse_selector (&at, selector) || (*at == ',' && at[1] == '\0'))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "filter \"%s\" can't be understood", text);
          return NULL;
        }
      if (*at == ',')
        at++;
    }
  return g_steal_pointer (&selectors);
}

GantryFakeFilter *
gantry_fake_filter_new (const char *const *filters, GError **error)
{
  g_autoptr (GantryFakeFilter) self = g_new0 (GantryFakeFilter, 1);

  self->alternatives = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  for (gsize i = 0; filters != NULL && filters[i] != NULL; i++)
    {
      GPtrArray *selectors = parse_filter (filters[i], error);

      if (selectors == NULL)
        return NULL;
      g_ptr_array_add (self->alternatives, selectors);
    }
  return g_steal_pointer (&self);
}

void
gantry_fake_filter_free (GantryFakeFilter *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref (self->alternatives);
  g_free (self);
}

static gboolean
selector_match (const Selector *self, GantryFakeField field, gpointer object)
{
  const char *value = field (self->path, object);

  if (self->op == '=')
    return g_strcmp0 (value, self->value) == 0;
  if (self->op == '!')
    return g_strcmp0 (value, self->value) != 0;
  if (self->op == '~')
    return value != NULL && g_regex_match (self->regex, value, 0, NULL);
  return value != NULL && value[0] != '\0';
}

gboolean
gantry_fake_filter_match (GantryFakeFilter *self, GantryFakeField field, gpointer object)
{
  for (guint i = 0; i < self->alternatives->len; i++)
    {
      GPtrArray *selectors = g_ptr_array_index (self->alternatives, i);
      gboolean all = TRUE;

      for (guint j = 0; all && j < selectors->len; j++)
        all = selector_match (g_ptr_array_index (selectors, j), field, object);
      if (all)
        return TRUE;
    }
  return self->alternatives->len == 0;
}

char *
gantry_fake_digest (gconstpointer data, gsize length)
{
  g_autofree char *hex = g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, length);

  return g_strconcat ("sha256:", hex, NULL);
}
