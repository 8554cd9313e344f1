/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "toml.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "toml-date.h"

#define MAX_LENGTH (1024 * 1024)
#define MAX_DEPTH  32
#define MAX_VALUES 10000
#define BARE_KEY   G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-"

typedef struct
{
  const char *at;
  guint line, depth, n_values;
  GError **error;
} Parser;

void
toml_free (TomlValue *self)
{
  if (self == NULL)
    return;
  g_free (self->key);
  g_free (self->string);
  g_clear_pointer (&self->items, g_ptr_array_unref);
  g_free (self);
}

const char *
toml_kind_name (TomlKind kind)
{
  static const char *const names[] = { "a string",      "a number", "a number with a fraction",
                                       "true or false", "a date",   "an array",
                                       "a table" };

  return names[kind];
}

TomlValue *
toml_get (const TomlValue *self, const char *key)
{
  for (guint i = 0; i < self->items->len; i++)
    {
      TomlValue *value = g_ptr_array_index (self->items, i);

      if (strcmp (value->key, key) == 0)
        return value;
    }
  return NULL;
}

static gpointer fail (Parser *self, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gpointer
fail (Parser *self, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;

  va_start (args, format);
  what = g_strdup_vprintf (format, args);
  va_end (args);
  /* Keys may have any letter; a message is one line. */
  for (char *letter = what; *letter != '\0'; letter++)
    if (g_ascii_iscntrl (*letter))
      *letter = '?';
  if (self->error != NULL && *self->error == NULL)
    gantry_throw (self->error, GANTRY_ERROR_INVALID_ARGUMENT, "line %u: %s", self->line, what);
  return NULL;
}

static TomlValue *
new_value (Parser *self, TomlKind kind)
{
  TomlValue *value;

  if (++self->n_values > MAX_VALUES)
    {
      if (self->error != NULL && *self->error == NULL)
        gantry_throw (self->error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d values", MAX_VALUES);
      return NULL;
    }
  value = g_new0 (TomlValue, 1);
  value->kind = kind;
  value->line = self->line;
  if (kind == TOML_ARRAY || kind == TOML_TABLE)
    value->items = g_ptr_array_new_with_free_func ((GDestroyNotify)toml_free);
  return value;
}

static void
skip_blanks (Parser *self)
{
  self->at += strspn (self->at, " \t");
}

static void
skip_comment (Parser *self)
{
  if (*self->at == '#')
    self->at += strcspn (self->at, "\n");
}

/* Blanks, comments and ends of lines. */
static void
skip_lines (Parser *self)
{
  for (;;)
    {
      skip_blanks (self);
      skip_comment (self);
      if (self->at[0] == '\r' && self->at[1] == '\n')
        self->at++;
      if (*self->at != '\n')
        return;
      self->at++;
      self->line++;
    }
}

/* Strings. */

static gboolean
append_code_point (Parser *self, GString *text, guint n_digits)
{
  gunichar code = 0;

  for (guint i = 0; i < n_digits; i++)
    {
      int digit = g_ascii_xdigit_value (self->at[0]);

      if (digit < 0)
        return fail (self, "\\u wants 4 hexadecimal digits and \\U 8") != NULL;
      code = code * 16 + (guint)digit;
      self->at++;
    }
  if (!g_unichar_validate (code) || code == 0)
    return fail (self, "\\u stands for no character") != NULL;
  g_string_append_unichar (text, code);
  return TRUE;
}

/* What stands behind a backslash. */
static gboolean
append_escape (Parser *self, GString *text, gboolean multi_line)
{
  static const char letters[] = "btnfr\"\\", meanings[] = "\b\t\n\f\r\"\\";
  char letter = *self->at;
  const char *found = letter != '\0' ? strchr (letters, letter) : NULL;

  if (multi_line && (letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r'))
    {
      self->at += strspn (self->at, " \t\r");
      if (*self->at != '\n')
        return fail (self, "a backslash in front of blanks must end its line") != NULL;
      for (; *self->at != '\0' && strchr (" \t\r\n", *self->at) != NULL; self->at++)
        self->line += *self->at == '\n';
      return TRUE;
    }
  self->at++;
  if (found != NULL)
    {
      g_string_append_c (text, meanings[found - letters]);
      return TRUE;
    }
  if (letter == 'u' || letter == 'U')
    return append_code_point (self, text, letter == 'u' ? 4 : 8);
  return fail (self, "a string has an unknown escape") != NULL;
}

/* Up to the closing quotes; @self is behind the opening ones. */
static char *
parse_quoted (Parser *self, char quote, gboolean multi_line)
{
  g_autoptr (GString) text = g_string_new (NULL);

  if (multi_line && self->at[0] == '\r' && self->at[1] == '\n')
    self->at++;
  if (multi_line && *self->at == '\n')
    {
      self->at++;
      self->line++;
    }
  for (;;)
    {
      char letter = *self->at;

      if (letter == '\0' || (letter == '\n' && !multi_line))
        return fail (self, "a string does not end");
      if (letter == quote)
        {
          gsize n = strspn (self->at, quote == '"' ? "\"" : "'");

          if (!multi_line || n >= 3)
            {
              /* Up to two quotes may stand in front of the three that close. */
              gsize own = multi_line ? MIN (n, 5) - 3 : 0;

              g_string_append_len (text, self->at, (gssize)own);
              self->at += own + (multi_line ? 3 : 1);
              return g_string_free (g_steal_pointer (&text), FALSE);
            }
        }
      self->at++;
      if (letter == '\\' && quote == '"')
        {
          if (!append_escape (self, text, multi_line))
            return NULL;
          continue;
        }
      self->line += letter == '\n';
      if (((guchar)letter < ' ' && strchr (multi_line ? "\t\n\r" : "\t", letter) == NULL) || letter == 0x7f)
        return fail (self, "a string has a control character");
      g_string_append_c (text, letter);
    }
}

static char *
parse_string (Parser *self)
{
  char quote = *self->at;
  gboolean multi_line = self->at[1] == quote && self->at[2] == quote;

  self->at += multi_line ? 3 : 1;
  return parse_quoted (self, quote, multi_line);
}

/* Keys. */

static char *
parse_simple_key (Parser *self)
{
  gsize length = strspn (self->at, BARE_KEY);
  char *key;

  if (*self->at == '"' || *self->at == '\'')
    {
      char quote = *self->at++;

      return parse_quoted (self, quote, FALSE);
    }
  if (length == 0)
    return fail (self, "a key is expected");
  key = g_strndup (self->at, length);
  self->at += length;
  return key;
}

/* a."b".c */
static GPtrArray *
parse_key (Parser *self)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new_with_free_func (g_free);

  for (;;)
    {
      char *part = parse_simple_key (self);

      if (part == NULL)
        return NULL;
      g_ptr_array_add (parts, part);
      if (parts->len > MAX_DEPTH)
        return fail (self, "a key has more than %d parts", MAX_DEPTH);
      skip_blanks (self);
      if (*self->at != '.')
        return g_steal_pointer (&parts);
      self->at++;
      skip_blanks (self);
    }
}

static TomlValue *
add_member (TomlValue *table, const char *key, TomlValue *value)
{
  value->key = g_strdup (key);
  g_ptr_array_add (table->items, value);
  return value;
}

/* The table @key of @table, made if it is not there. */
static TomlValue *
enter (Parser *self, TomlValue *table, const char *key, gboolean dotted)
{
  TomlValue *found = toml_get (table, key), *made;

  if (found == NULL)
    {
      made = new_value (self, TOML_TABLE);
      if (made == NULL)
        return NULL;
      made->dotted = dotted;
      return add_member (table, key, made);
    }
  if (found->kind == TOML_ARRAY && found->tables && !dotted)
    return g_ptr_array_index (found->items, found->items->len - 1);
  if (found->kind != TOML_TABLE)
    return fail (self, "\"%.100s\" is %s (line %u) and can't have members", key, toml_kind_name (found->kind),
                 found->line);
  if (found->closed || (dotted && !found->dotted))
    return fail (self, "\"%.100s\" is complete since line %u", key, found->line);
  return found;
}

/* Values. */

static TomlValue *parse_value (Parser *self);

static gboolean
parse_pair (Parser *self, TomlValue *table)
{
  g_autoptr (GPtrArray) key = parse_key (self);
  const char *last;
  TomlValue *value;

  if (key == NULL)
    return FALSE;
  if (*self->at != '=')
    return fail (self, "a \"=\" is expected behind a key") != NULL;
  self->at++;
  skip_blanks (self);
  for (guint i = 0; i + 1 < key->len; i++)
    {
      table = enter (self, table, g_ptr_array_index (key, i), TRUE);
      if (table == NULL)
        return FALSE;
    }
  last = g_ptr_array_index (key, key->len - 1);
  if (toml_get (table, last) != NULL)
    return fail (self, "\"%.100s\" is there twice", last) != NULL;
  value = parse_value (self);
  if (value == NULL)
    return FALSE;
  add_member (table, last, value);
  return TRUE;
}

static TomlValue *
parse_array (Parser *self)
{
  g_autoptr (TomlValue) array = new_value (self, TOML_ARRAY);

  if (array == NULL)
    return NULL;
  self->at++;
  for (;;)
    {
      TomlValue *value;

      skip_lines (self);
      if (*self->at == ']')
        break;
      value = parse_value (self);
      if (value == NULL)
        return NULL;
      g_ptr_array_add (array->items, value);
      skip_lines (self);
      if (*self->at == ',')
        self->at++;
      else if (*self->at != ']')
        return fail (self, "a \",\" or \"]\" is expected in an array");
    }
  self->at++;
  return g_steal_pointer (&array);
}

static void
close_table (TomlValue *table)
{
  table->closed = TRUE;
  for (guint i = 0; i < table->items->len; i++)
    {
      TomlValue *item = g_ptr_array_index (table->items, i);

      if (item->kind == TOML_TABLE)
        close_table (item);
    }
}

static TomlValue *
parse_inline_table (Parser *self)
{
  g_autoptr (TomlValue) table = new_value (self, TOML_TABLE);

  if (table == NULL)
    return NULL;
  self->at++;
  skip_blanks (self);
  while (*self->at != '}')
    {
      if (!parse_pair (self, table))
        return NULL;
      skip_blanks (self);
      if (*self->at == '}')
        break;
      if (*self->at != ',')
        return fail (self, "a \",\" or \"}\" is expected in an inline table");
      self->at++;
      skip_blanks (self);
      if (*self->at == '}')
        return fail (self, "an inline table ends with a \",\"");
    }
  self->at++;
  close_table (table);
  return g_steal_pointer (&table);
}

/* Takes the "_" out of 1_000. Returns: (transfer full) (nullable): NULL if one does not stand between digits.
 */
static char *
strip_underscores (const char *text)
{
  g_autoptr (GString) digits = g_string_new (NULL);

  for (const char *letter = text; *letter != '\0'; letter++)
    {
      if (*letter != '_')
        g_string_append_c (digits, *letter);
      else if (letter == text || !g_ascii_isxdigit (letter[-1]) || !g_ascii_isxdigit (letter[1]))
        return NULL;
    }
  return g_string_free (g_steal_pointer (&digits), FALSE);
}

static gboolean
read_integer (const char *digits, gint64 *ret_integer)
{
  static const struct
  {
    const char *prefix, *letters;
    guint base;
  } bases[] = { { "0x", "0123456789abcdefABCDEF", 16 }, { "0o", "01234567", 8 }, { "0b", "01", 2 } };
  const char *unsigned_part = digits + (digits[0] == '+' || digits[0] == '-');

  for (gsize i = 0; i < G_N_ELEMENTS (bases); i++)
    if (g_str_has_prefix (digits, bases[i].prefix))
      {
        const char *rest = digits + 2;

        errno = 0;
        *ret_integer = (gint64)g_ascii_strtoull (rest, NULL, bases[i].base);
        return rest[0] != '\0' && strspn (rest, bases[i].letters) == strlen (rest) && errno == 0
               && *ret_integer >= 0;
      }
  if (unsigned_part[0] == '0' && unsigned_part[1] != '\0')
    return FALSE;
  errno = 0;
  *ret_integer = g_ascii_strtoll (digits, NULL, 10);
  return unsigned_part[0] != '\0' && strspn (unsigned_part, G_CSET_DIGITS) == strlen (unsigned_part)
         && errno == 0;
}

static gboolean
read_float (const char *digits, double *ret_number)
{
  const char *at = digits + (digits[0] == '+' || digits[0] == '-');
  gsize whole = strspn (at, G_CSET_DIGITS), fraction;

  if (strcmp (at, "inf") == 0 || strcmp (at, "nan") == 0)
    {
      *ret_number = strcmp (at, "nan") == 0 ? NAN : digits[0] == '-' ? -INFINITY : INFINITY;
      return TRUE;
    }
  if (whole == 0 || (at[0] == '0' && whole > 1))
    return FALSE;
  /* Without either it would be an integer, and is too large for one. */
  if (at[whole] != '.' && at[whole] != 'e' && at[whole] != 'E')
    return FALSE;
  at += whole;
  if (*at == '.')
    {
      fraction = strspn (at + 1, G_CSET_DIGITS);
      if (fraction == 0)
        return FALSE;
      at += 1 + fraction;
    }
  if (*at == 'e' || *at == 'E')
    {
      at += 1 + (at[1] == '+' || at[1] == '-');
      fraction = strspn (at, G_CSET_DIGITS);
      if (fraction == 0)
        return FALSE;
      at += fraction;
    }
  *ret_number = g_ascii_strtod (digits, NULL);
  return *at == '\0';
}

static TomlValue *
parse_word (Parser *self)
{
  gsize length = strcspn (self->at, " \t\r\n,]}#");
  g_autofree char *word = g_strndup (self->at, length);
  g_autofree char *digits = strip_underscores (word);
  g_autoptr (TomlValue) value = new_value (self, TOML_BOOLEAN);

  if (value == NULL)
    return NULL;
  if (strcmp (word, "true") == 0 || strcmp (word, "false") == 0)
    value->integer = word[0] == 't';
  else if (digits != NULL && read_integer (digits, &value->integer))
    value->kind = TOML_INTEGER;
  else if (digits != NULL && read_float (digits, &value->number))
    value->kind = TOML_FLOAT;
  else
    return fail (self, "\"%.100s\" is no value; strings stand in quotes", word);
  self->at += length;
  return g_steal_pointer (&value);
}

static TomlValue *
parse_date (Parser *self)
{
  gsize length = toml_date_length (self->at);
  TomlValue *value;

  if (length == 0 || strchr (" \t\r\n,]}#", self->at[length]) == NULL)
    return fail (self, "\"%.*s\" is no date or time", (int)MIN (strcspn (self->at, "\t\r\n,]}#"), 40),
                 self->at);
  value = new_value (self, TOML_DATE);
  if (value == NULL)
    return NULL;
  value->string = g_strndup (self->at, length);
  self->at += length;
  return value;
}

static TomlValue *
parse_text (Parser *self)
{
  g_autoptr (TomlValue) value = new_value (self, TOML_STRING);

  if (value != NULL)
    value->string = parse_string (self);
  return value != NULL && value->string != NULL ? g_steal_pointer (&value) : NULL;
}

static TomlValue *
parse_value (Parser *self)
{
  TomlValue *value;

  if (++self->depth > MAX_DEPTH)
    return fail (self, "it is nested deeper than %d levels", MAX_DEPTH);
  if (*self->at == '"' || *self->at == '\'')
    value = parse_text (self);
  else if (*self->at == '[')
    value = parse_array (self);
  else if (*self->at == '{')
    value = parse_inline_table (self);
  else if (toml_date_begins (self->at))
    value = parse_date (self);
  else
    value = parse_word (self);
  self->depth--;
  return value;
}

/* Lines. */

/* [[a.b]]: a new table at the end of the array. */
static TomlValue *
append_table (Parser *self, TomlValue *parent, const char *key)
{
  TomlValue *array = toml_get (parent, key), *table;

  if (array == NULL)
    {
      array = new_value (self, TOML_ARRAY);
      if (array == NULL)
        return NULL;
      array->tables = TRUE;
      add_member (parent, key, array);
    }
  if (array->kind != TOML_ARRAY || !array->tables)
    return fail (self, "\"%.100s\" is no array of tables (line %u)", key, array->line);
  table = new_value (self, TOML_TABLE);
  if (table != NULL)
    g_ptr_array_add (array->items, table);
  return table;
}

/* [a.b]. A table may be made by its members first, and be opened itself once. */
static TomlValue *
open_table (Parser *self, TomlValue *parent, const char *key, GHashTable *opened)
{
  TomlValue *table = toml_get (parent, key);

  if (table != NULL && table->kind == TOML_TABLE
      && (table->closed || table->dotted || g_hash_table_contains (opened, table)))
    return fail (self, "table \"%.100s\" is there twice (line %u)", key, table->line);
  if (table != NULL && table->kind != TOML_TABLE)
    return fail (self, "\"%.100s\" is %s (line %u) and can't have members", key, toml_kind_name (table->kind),
                 table->line);
  if (table == NULL)
    table = enter (self, parent, key, FALSE);
  if (table != NULL)
    g_hash_table_add (opened, table);
  return table;
}

static TomlValue *
parse_header (Parser *self, TomlValue *root, GHashTable *opened)
{
  gboolean array = self->at[1] == '[';
  g_autoptr (GPtrArray) key = NULL;
  TomlValue *table = root;

  self->at += array ? 2 : 1;
  skip_blanks (self);
  key = parse_key (self);
  if (key == NULL)
    return NULL;
  if (self->at[0] != ']' || (array && self->at[1] != ']'))
    return fail (self, "the name of a table does not end with \"%s\"", array ? "]]" : "]");
  self->at += array ? 2 : 1;
  for (guint i = 0; table != NULL && i + 1 < key->len; i++)
    table = enter (self, table, g_ptr_array_index (key, i), FALSE);
  if (table == NULL)
    return NULL;
  return array ? append_table (self, table, g_ptr_array_index (key, key->len - 1))
               : open_table (self, table, g_ptr_array_index (key, key->len - 1), opened);
}

static gboolean
end_line (Parser *self)
{
  skip_blanks (self);
  skip_comment (self);
  if (self->at[0] == '\r' && self->at[1] == '\n')
    self->at++;
  if (*self->at != '\n' && *self->at != '\0')
    return fail (self, "the line goes on behind its end") != NULL;
  return TRUE;
}

static gboolean
check_text (const char *text, gsize length, GError **error)
{
  if (length > MAX_LENGTH)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d bytes", MAX_LENGTH);
  if (!g_utf8_validate_len (text, length, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is not UTF-8, or has a zero byte");
  return TRUE;
}

TomlValue *
toml_parse (const char *text, gsize length, GError **error)
{
  g_autofree char *copy = NULL;
  g_autoptr (GError) local = NULL;
  g_autoptr (TomlValue) root = NULL;
  g_autoptr (GHashTable) opened = g_hash_table_new (NULL, NULL);
  Parser self = { .line = 1, .error = &local };
  TomlValue *table;

  if (!check_text (text, length, error))
    return NULL;
  copy = g_strndup (text, length);
  self.at = g_str_has_prefix (copy, "\357\273\277") ? copy + 3 : copy;
  table = root = new_value (&self, TOML_TABLE);
  for (skip_lines (&self); *self.at != '\0' && local == NULL; skip_lines (&self))
    {
      gboolean good;

      if (*self.at == '[')
        good = (table = parse_header (&self, root, opened)) != NULL;
      else
        good = parse_pair (&self, table);
      if (!good || !end_line (&self))
        break;
    }
  if (local != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  return g_steal_pointer (&root);
}
