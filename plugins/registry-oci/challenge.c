/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "challenge.h"

#include <string.h>

#define MAX_CHALLENGES 16
#define MAX_PARAMS     32
#define MAX_VALUE      4096

/* RFC 9110, section 5.6.2. */
#define TOKEN "!#$%&'*+-.^_`|~" G_CSET_DIGITS G_CSET_A_2_Z G_CSET_a_2_z

void
challenge_free (Challenge *self)
{
  if (self == NULL)
    return;
  g_free (self->scheme);
  g_hash_table_unref (self->params);
  g_free (self);
}

static void
skip (const char **at, const char *letters)
{
  *at += strspn (*at, letters);
}

/* Returns: (transfer full) (nullable): NULL if none stands here. */
static char *
take_token (const char **at)
{
  gsize length = strspn (*at, TOKEN);
  char *token = length > 0 && length <= MAX_VALUE ? g_ascii_strdown (*at, (gssize)length) : NULL;

  *at += length;
  return token;
}

/* A quoted string, with its escapes; @at is on the quote. Returns: NULL if it does not end. */
static char *
take_quoted (const char **at)
{
  g_autoptr (GString) value = g_string_new (NULL);

  for (const char *letter = *at + 1; *letter != '\0' && value->len <= MAX_VALUE; letter++)
    {
      if (*letter == '"')
        {
          *at = letter + 1;
          return g_string_free (g_steal_pointer (&value), FALSE);
        }
      if (*letter == '\\' && letter[1] != '\0')
        letter++;
      g_string_append_c (value, *letter);
    }
  return NULL;
}

static char *
take_value (const char **at)
{
  gsize length;
  char *value;

  if (**at == '"')
    return take_quoted (at);
  length = strcspn (*at, ", \t");
  value = length > 0 && length <= MAX_VALUE ? g_strndup (*at, length) : NULL;
  *at += length;
  return value;
}

/* Whether "name=" stands at @at, and not the "token68" of a scheme, which ends with "=". */
static gboolean
is_param (const char *at)
{
  gsize length = strspn (at, TOKEN);
  const char *rest = at + length + strspn (at + length, " \t");

  return length > 0 && rest[0] == '=' && rest[1 + strspn (rest + 1, " \t=")] != '\0' && rest[1] != '='
         && rest[1] != ',';
}

/* Returns: FALSE if what stands here can't be read. */
static gboolean
take_param (const char **at, Challenge *challenge)
{
  g_autofree char *name = take_token (at);
  g_autofree char *value = NULL;

  skip (at, " \t");
  (*at)++; /* the "=" that is_param () saw */
  skip (at, " \t");
  value = take_value (at);
  if (name == NULL || value == NULL || g_hash_table_size (challenge->params) >= MAX_PARAMS)
    return FALSE;
  if (!g_hash_table_contains (challenge->params, name))
    g_hash_table_insert (challenge->params, g_steal_pointer (&name), g_steal_pointer (&value));
  return TRUE;
}

static void
parse_value (const char *at, GPtrArray *challenges)
{
  Challenge *current = NULL;

  for (;;)
    {
      skip (&at, ", \t");
      if (*at == '\0')
        return;
      if (current != NULL && is_param (at))
        {
          if (!take_param (&at, current))
            return;
          continue;
        }
      if (challenges->len >= MAX_CHALLENGES || strspn (at, TOKEN) == 0)
        return;
      current = g_new0 (Challenge, 1);
      current->params = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
      current->scheme = take_token (&at);
      g_ptr_array_add (challenges, current);
      if (current->scheme == NULL)
        current->scheme = g_strdup ("");
      /* A scheme alone, parameters, or a token68, which is of no use here. */
      skip (&at, " \t");
      if (*at != '\0' && *at != ',' && !is_param (at))
        at += strcspn (at, ",");
    }
}

GPtrArray *
challenge_parse (const char *const *values)
{
  GPtrArray *challenges = g_ptr_array_new_with_free_func ((GDestroyNotify)challenge_free);

  for (gsize i = 0; values != NULL && values[i] != NULL; i++)
    parse_value (values[i], challenges);
  return challenges;
}

Challenge *
challenge_find (GPtrArray *challenges, const char *scheme)
{
  for (guint i = 0; i < challenges->len; i++)
    {
      Challenge *challenge = g_ptr_array_index (challenges, i);

      if (strcmp (challenge->scheme, scheme) == 0)
        return challenge;
    }
  return NULL;
}

const char *
challenge_get (Challenge *self, const char *name)
{
  return g_hash_table_lookup (self->params, name);
}
