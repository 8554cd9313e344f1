/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

static const char *
skip_space (const char *at, const char *end)
{
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}

/* Returns: behind the closing quote, or NULL. */
static const char *
skip_string (const char *at, const char *end)
{
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\')
      at++;
  return at < end ? at + 1 : NULL;
}

static const char *skip_value (const char *at, const char *end, int depth);

/* The members of an object, or the values of an array, up to behind the closing bracket. */
static const char *
skip_nested (const char *at, const char *end, int depth)
{
  char close = *at == '{' ? '}' : ']';

  at = skip_space (at + 1, end);
  if (at < end && *at == close)
    return at + 1;
  while (at < end)
    {
      if (close == '}')
        {
          at = *at == '"' ? skip_string (at, end) : NULL;
          at = at != NULL ? skip_space (at, end) : NULL;
          if (at == NULL || at == end || *at != ':')
            return NULL;
          at = skip_space (at + 1, end);
        }
      at = skip_value (at, end, depth);
      at = at != NULL ? skip_space (at, end) : NULL;
      if (at == NULL || at == end || (*at != ',' && *at != close))
        return NULL;
      if (*at++ == close)
        return at;
      at = skip_space (at, end);
    }
  return NULL;
}

/* Returns: behind the value that starts at @at, or NULL. */
static const char *
skip_value (const char *at, const char *end, int depth)
{
  const char *begin = at;

  if (at >= end || depth >= MAX_DEPTH)
    return NULL;
  if (*at == '"')
    return skip_string (at, end);
  if (*at == '{' || *at == '[')
    return skip_nested (at, end, depth + 1);
  while (at < end && strchr ("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *at) != NULL && *at != '\0')
    at++;
  return at > begin ? at : NULL;
}

bool
json_parse (const char *text, size_t length, Json *ret_value)
{
  const char *end = text + length, *at = skip_space (text, end);
  const char *behind = skip_value (at, end, 0);

  if (behind == NULL || skip_space (behind, end) != end)
    return false;
  *ret_value = (Json){ at, behind };
  return true;
}

bool
json_next (Json *rest, Json *ret_value)
{
  const char *at = rest->at, *behind;

  if (at >= rest->end || (*at != '[' && *at != ','))
    return false;
  at = skip_space (at + 1, rest->end);
  behind = at < rest->end && *at != ']' ? skip_value (at, rest->end, 0) : NULL;
  if (behind == NULL)
    return false;
  *ret_value = (Json){ at, behind };
  rest->at = skip_space (behind, rest->end);
  return true;
}

bool
json_next_member (Json *rest, Json *ret_value)
{
  const char *at = rest->at, *behind;

  if (at >= rest->end || (*at != '{' && *at != ','))
    return false;
  at = skip_space (at + 1, rest->end);
  at = at < rest->end && *at == '"' ? skip_string (at, rest->end) : NULL;
  at = at != NULL ? skip_space (at, rest->end) : NULL;
  if (at == NULL || at >= rest->end || *at != ':')
    return false;
  at = skip_space (at + 1, rest->end);
  behind = skip_value (at, rest->end, 0);
  if (behind == NULL)
    return false;
  *ret_value = (Json){ at, behind };
  rest->at = skip_space (behind, rest->end);
  return true;
}

bool
json_member (Json object, const char *key, Json *ret_value)
{
  const char *at = object.at;
  size_t length = strlen (key);

  if (at >= object.end || *at != '{')
    return false;
  while (*at == '{' || *at == ',')
    {
      const char *name = skip_space (at + 1, object.end), *behind;

      if (name >= object.end || *name != '"' || (behind = skip_string (name, object.end)) == NULL)
        return false;
      at = skip_space (skip_space (behind, object.end) + 1, object.end);
      if ((size_t)(behind - name) == length + 2 && memcmp (name + 1, key, length) == 0)
        {
          behind = skip_value (at, object.end, 0);
          *ret_value = (Json){ at, behind };
          return behind != NULL;
        }
      at = skip_value (at, object.end, 0);
      if (at == NULL)
        return false;
      at = skip_space (at, object.end);
      if (at >= object.end)
        return false;
    }
  return false;
}

static bool
read_hex (const char *at, const char *end, uint32_t *ret_code)
{
  uint32_t code = 0;

  if (end - at < 4)
    return false;
  for (int i = 0; i < 4; i++)
    {
      static const char digits[] = "0123456789abcdef";
      const char *digit = at[i] != '\0' ? strchr (digits, at[i] | 0x20) : NULL;

      if (digit == NULL)
        return false;
      code = code << 4 | (uint32_t)(digit - digits);
    }
  *ret_code = code;
  return true;
}

static size_t
put_utf8 (char *out, uint32_t code)
{
  if (code < 0x80)
    {
      out[0] = (char)code;
      return 1;
    }
  if (code < 0x800)
    {
      out[0] = (char)(0xc0 | code >> 6);
      out[1] = (char)(0x80 | (code & 0x3f));
      return 2;
    }
  if (code < 0x10000)
    {
      out[0] = (char)(0xe0 | code >> 12);
      out[1] = (char)(0x80 | (code >> 6 & 0x3f));
      out[2] = (char)(0x80 | (code & 0x3f));
      return 3;
    }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3f));
  out[2] = (char)(0x80 | (code >> 6 & 0x3f));
  out[3] = (char)(0x80 | (code & 0x3f));
  return 4;
}

/* The escape whose letter is at *@at, which is left on its last byte. Returns: the bytes written. */
static size_t
unescape (const char **at, const char *end, char *out)
{
  static const char letters[] = "bfnrt", values[] = "\b\f\n\r\t";
  const char *letter = strchr (letters, **at);
  uint32_t code, low;

  if (**at == 'u' && read_hex (*at + 1, end, &code))
    {
      *at += 4;
      if (code >= 0xd800 && code < 0xdc00 && end - *at > 6 && (*at)[1] == '\\' && (*at)[2] == 'u'
          && read_hex (*at + 3, end, &low) && low >= 0xdc00 && low < 0xe000)
        {
          *at += 6;
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
      return put_utf8 (out, code);
    }
  *out = letter != NULL && **at != '\0' ? values[letter - letters] : **at;
  return 1;
}

char *
json_string (Json value)
{
  /* An escape is never shorter than what it stands for. */
  char *out = value.at < value.end && *value.at == '"' ? malloc ((size_t)(value.end - value.at)) : NULL;
  size_t n = 0;

  if (out == NULL)
    return NULL;
  for (const char *at = value.at + 1; at < value.end - 1; at++)
    {
      if (*at != '\\')
        out[n++] = *at;
      else
        {
          at++;
          n += unescape (&at, value.end - 1, out + n);
        }
    }
  out[n] = '\0';
  return out;
}

char *
json_member_string (Json object, const char *key)
{
  Json value;

  return json_member (object, key, &value) ? json_string (value) : NULL;
}
