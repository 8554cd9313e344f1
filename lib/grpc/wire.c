/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire.h"

#include <string.h>

gint64
grpc_wire_parse_timeout (const char *text, gsize length)
{
  static const struct
  {
    char unit;
    gint64 us;
  } units[] = { { 'H', 3600000000 }, { 'M', 60000000 }, { 'S', 1000000 }, { 'm', 1000 }, { 'u', 1 } };
  gint64 value = 0;

  if (length < 2 || length > 9)
    return -1;
  for (gsize i = 0; i < length - 1; i++)
    {
      if (!g_ascii_isdigit (text[i]))
        return -1;
      value = value * 10 + (text[i] - '0');
    }
  if (text[length - 1] == 'n')
    return (value + 999) / 1000;
  for (gsize i = 0; i < G_N_ELEMENTS (units); i++)
    if (units[i].unit == text[length - 1])
      return value * units[i].us;
  return -1;
}

void
grpc_wire_format_timeout (gint64 us, char *out)
{
  static const struct
  {
    gint64 us;
    char unit;
  } units[] = { { 1, 'u' }, { 1000, 'm' }, { 1000000, 'S' }, { 60000000, 'M' }, { 3600000000, 'H' } };
  gsize i = 0;

  us = MAX (us, 0);
  while (i + 1 < G_N_ELEMENTS (units) && us / units[i].us > 99999999)
    i++;
  g_snprintf (out, 16, "%" G_GINT64_FORMAT "%c", MIN (us / units[i].us, 99999999), units[i].unit);
}

char *
grpc_wire_encode_message (const char *text)
{
  GString *out = g_string_new (NULL);

  for (const char *p = text; *p != '\0'; p++)
    if (*p >= ' ' && *p <= '~' && *p != '%')
      g_string_append_c (out, *p);
    else
      g_string_append_printf (out, "%%%02X", (guint8)*p);
  return g_string_free (out, FALSE);
}

char *
grpc_wire_decode_message (const char *text, gsize length)
{
  g_autoptr (GString) out = g_string_sized_new (length);

  for (gsize i = 0; i < length; i++)
    if (text[i] == '%' && i + 2 < length && g_ascii_isxdigit (text[i + 1]) && g_ascii_isxdigit (text[i + 2]))
      {
        g_string_append_c (out, (char)(g_ascii_xdigit_value (text[i + 1]) << 4
                                       | g_ascii_xdigit_value (text[i + 2])));
        i += 2;
      }
    else
      g_string_append_c (out, text[i]);
  return g_utf8_make_valid (out->str, (gssize)out->len);
}

GBytes *
grpc_wire_decode_base64 (const char *text)
{
  gsize length = strlen (text), full = length, out_length;
  g_autofree char *padded = NULL;
  guint8 *data;

  while (full > 0 && length - full < 2 && text[full - 1] == '=')
    full--;
  for (gsize i = 0; i < full; i++)
    if (!g_ascii_isalnum (text[i]) && text[i] != '+' && text[i] != '/')
      return NULL;
  if (full % 4 == 1)
    return NULL;
  if (full == 0)
    return g_bytes_new (NULL, 0);
  padded = g_strdup_printf ("%.*s%s", (int)full, text, &"==="[3 - (4 - full % 4) % 4]);
  data = g_base64_decode (padded, &out_length);
  return g_bytes_new_take (data, out_length);
}

char *
grpc_wire_encode_base64 (GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);
  char *text = g_base64_encode (data, length);
  gsize end = strlen (text);

  while (end > 0 && text[end - 1] == '=')
    text[--end] = '\0';
  return text;
}

gboolean
grpc_wire_is_grpc (const char *text, gsize length)
{
  static const char type[] = "application/grpc";

  return length >= sizeof type - 1 && memcmp (text, type, sizeof type - 1) == 0
         && (length == sizeof type - 1 || text[sizeof type - 1] == '+' || text[sizeof type - 1] == ';');
}

void
grpc_wire_write_prefix (guint8 out[GRPC_PREFIX], gsize length)
{
  out[0] = 0;
  for (int i = 0; i < 4; i++)
    out[1 + i] = (guint8)(length >> (24 - 8 * i));
}
