/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filter.h"

#include <string.h>

#include <gantry/error.h>

#define MAX_FILTERS 256
#define MAX_LENGTH  8192

typedef enum
{
  OP_PRESENT,
  OP_EQUAL,
  OP_NOT_EQUAL,
  OP_MATCH
} Operator;

typedef struct
{
  GPtrArray *path; /* of strings */
  Operator op;
  char *value;
  GRegex *regex;
} Selector;

struct _GantryFilter
{
  GPtrArray *alternatives; /* of GPtrArray of Selector */
};

typedef struct
{
  const char *text;
  const char *at;
} Parser;

static void
selector_free (gpointer data)
{
  Selector *self = data;

  g_ptr_array_unref (self->path);
  g_free (self->value);
  g_clear_pointer (&self->regex, g_regex_unref);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Selector, selector_free)

static gboolean
parse_error (Parser *parser, const char *what, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "filter \"%s\": %s at character %d",
                       parser->text, what, (int)(parser->at - parser->text) + 1);
}

/* Space may stand around whatever a filter is made of: clients write "type==a, id==b". */
static void
skip_space (Parser *parser)
{
  while (g_ascii_isspace (*parser->at))
    parser->at++;
}

static char *
parse_quoted (Parser *parser, char quote, GError **error)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (parser->at++; *parser->at != quote; parser->at++)
    {
      if (*parser->at == '\0')
        {
          parse_error (parser, "the quote is not closed", error);
          return NULL;
        }
      if (*parser->at != '\\')
        {
          g_string_append_c (text, *parser->at);
          continue;
        }
      parser->at++;
      if (*parser->at == quote || *parser->at == '\\')
        g_string_append_c (text, *parser->at);
      else if (*parser->at == 'n')
        g_string_append_c (text, '\n');
      else if (*parser->at == 't')
        g_string_append_c (text, '\t');
      else if (*parser->at == '\0')
        parser->at--;
      else
        {
          g_string_append_c (text, '\\');
          g_string_append_c (text, *parser->at);
        }
    }
  parser->at++;
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static gboolean
is_field_char (char c)
{
  return g_ascii_isalnum (c) || c == '_' || c == '-';
}

static gboolean
is_value_char (char c)
{
  return c != '\0' && c != ',' && c != '"' && !g_ascii_isspace (c);
}

static char *
parse_word (Parser *parser, gboolean (*accept) (char), const char *what, GError **error)
{
  const char *start = parser->at;

  while (accept (*parser->at))
    parser->at++;
  if (parser->at == start)
    {
      parse_error (parser, what, error);
      return NULL;
    }
  return g_strndup (start, (gsize)(parser->at - start));
}

static gboolean
parse_path (Parser *parser, GPtrArray *path, GError **error)
{
  for (;;)
    {
      char *part;

      skip_space (parser);
      part = *parser->at == '"' ? parse_quoted (parser, '"', error)
                                : parse_word (parser, is_field_char, "a field name is missing", error);

      if (part == NULL)
        return FALSE;
      g_ptr_array_add (path, part);
      skip_space (parser);
      if (*parser->at != '.')
        return TRUE;
      parser->at++;
    }
}

static gboolean
parse_value (Parser *parser, Selector *selector, GError **error)
{
  char c;

  skip_space (parser);
  c = *parser->at;
  if (c == '"' || (selector->op == OP_MATCH && (c == '/' || c == '|')))
    selector->value = parse_quoted (parser, c, error);
  else
    selector->value = parse_word (parser, is_value_char, "a value is missing", error);
  if (selector->value == NULL)
    return FALSE;
  if (selector->op == OP_MATCH)
    {
      g_autoptr (GError) local = NULL;

      selector->regex = g_regex_new (selector->value, G_REGEX_OPTIMIZE, 0, &local);
      if (selector->regex == NULL)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "filter \"%s\": %s", parser->text,
                             local->message);
    }
  return TRUE;
}

static Selector *
parse_selector (Parser *parser, GError **error)
{
  g_autoptr (Selector) selector = g_new0 (Selector, 1);

  selector->path = g_ptr_array_new_with_free_func (g_free);
  if (!parse_path (parser, selector->path, error))
    return NULL;
  if (*parser->at == '\0' || *parser->at == ',')
    return g_steal_pointer (&selector);
  if (g_str_has_prefix (parser->at, "=="))
    selector->op = OP_EQUAL;
  else if (g_str_has_prefix (parser->at, "!="))
    selector->op = OP_NOT_EQUAL;
  else if (g_str_has_prefix (parser->at, "~="))
    selector->op = OP_MATCH;
  else
    {
      parse_error (parser, "expected ==, != or ~=", error);
      return NULL;
    }
  parser->at += 2;
  return parse_value (parser, selector, error) ? g_steal_pointer (&selector) : NULL;
}

static GPtrArray *
parse_filter (const char *text, GError **error)
{
  g_autoptr (GPtrArray) selectors = g_ptr_array_new_with_free_func (selector_free);
  Parser parser = { text, text };

  if (strlen (text) > MAX_LENGTH)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a filter has more than %d characters", MAX_LENGTH);
      return NULL;
    }
  skip_space (&parser);
  while (*parser.at != '\0')
    {
      Selector *selector = parse_selector (&parser, error);

      if (selector == NULL)
        return NULL;
      g_ptr_array_add (selectors, selector);
      skip_space (&parser);
      if (*parser.at == '\0')
        break;
      if (*parser.at != ',' || parser.at[1] == '\0')
        {
          parse_error (&parser, "expected \",\" and another selector", error);
          return NULL;
        }
      parser.at++;
    }
  return g_steal_pointer (&selectors);
}

GantryFilter *
gantry_filter_new (const char *const *filters, GError **error)
{
  g_autoptr (GantryFilter) self = g_new0 (GantryFilter, 1);

  self->alternatives = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  for (gsize i = 0; filters != NULL && filters[i] != NULL; i++)
    {
      GPtrArray *selectors;

      if (i >= MAX_FILTERS)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "more than %d filters", MAX_FILTERS);
          return NULL;
        }
      selectors = parse_filter (filters[i], error);
      if (selectors == NULL)
        return NULL;
      g_ptr_array_add (self->alternatives, selectors);
    }
  return g_steal_pointer (&self);
}

void
gantry_filter_free (GantryFilter *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->alternatives, g_ptr_array_unref);
  g_free (self);
}

static gboolean
selector_match (Selector *self, GantryFilterField field, gpointer object)
{
  const char *value = field ((const char *const *)self->path->pdata, self->path->len, object);

  switch (self->op)
    {
    case OP_PRESENT:
      return value != NULL && value[0] != '\0';
    case OP_EQUAL:
      return g_strcmp0 (value, self->value) == 0;
    case OP_NOT_EQUAL:
      return g_strcmp0 (value, self->value) != 0;
    case OP_MATCH:
      return value != NULL && g_regex_match (self->regex, value, 0, NULL);
    default:
      return FALSE;
    }
}

gboolean
gantry_filter_match (GantryFilter *self, GantryFilterField field, gpointer object)
{
  if (self->alternatives->len == 0)
    return TRUE;
  for (guint i = 0; i < self->alternatives->len; i++)
    {
      GPtrArray *selectors = g_ptr_array_index (self->alternatives, i);
      gboolean all = TRUE;

      for (guint j = 0; all && j < selectors->len; j++)
        all = selector_match (g_ptr_array_index (selectors, j), field, object);
      if (all)
        return TRUE;
    }
  return FALSE;
}

gboolean
gantry_filter_is_all (GantryFilter *self)
{
  for (guint i = 0; i < self->alternatives->len; i++)
    if (((GPtrArray *)g_ptr_array_index (self->alternatives, i))->len == 0)
      return TRUE;
  return self->alternatives->len == 0;
}

static const Selector *
find_equal (GPtrArray *selectors, gboolean (*accept) (const char *const *path, guint n_path))
{
  for (guint i = 0; i < selectors->len; i++)
    {
      const Selector *selector = g_ptr_array_index (selectors, i);

      if (selector->op == OP_EQUAL
          && accept ((const char *const *)selector->path->pdata, selector->path->len))
        return selector;
    }
  return NULL;
}

GArray *
gantry_filter_get_equals (GantryFilter *self, gboolean (*accept) (const char *const *path, guint n_path))
{
  g_autoptr (GArray) equals = g_array_new (FALSE, FALSE, sizeof (GantryFilterEqual));

  for (guint i = 0; i < self->alternatives->len; i++)
    {
      const Selector *selector = find_equal (g_ptr_array_index (self->alternatives, i), accept);
      GantryFilterEqual equal;

      if (selector == NULL)
        return NULL;
      equal = (GantryFilterEqual){ (const char *const *)selector->path->pdata, selector->path->len,
                                   selector->value };
      g_array_append_val (equals, equal);
    }
  return equals->len > 0 ? g_steal_pointer (&equals) : NULL;
}
