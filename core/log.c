/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-glib/json-glib.h>

static LogFormat log_format;
static int log_level;
static char *first_critical; /* atomic; kept for ever */

static int
priority_of (GLogLevelFlags flags)
{
  if (flags & G_LOG_LEVEL_ERROR)
    return 2;
  if (flags & G_LOG_LEVEL_CRITICAL)
    return 3;
  if (flags & G_LOG_LEVEL_WARNING)
    return 4;
  if (flags & G_LOG_LEVEL_MESSAGE)
    return 5;
  return flags & G_LOG_LEVEL_INFO ? 6 : 7;
}

static const char *
level_name (int priority)
{
  static const char *const names[]
      = { "emergency", "alert", "fatal", "error", "warning", "notice", "info", "debug" };

  return names[priority];
}

static const char *
field_of (const GLogField *fields, gsize n_fields, const char *key)
{
  for (gsize i = 0; i < n_fields; i++)
    if (fields[i].length < 0 && strcmp (fields[i].key, key) == 0)
      return fields[i].value;
  return NULL;
}

/* One line a message, whatever came from outside: no control characters (C0, DEL, C1) and no line separators.
 */
static void
one_line (char *line)
{
  for (guchar *at = (guchar *)line; *at != '\0'; at++)
    if (g_ascii_iscntrl ((char)*at))
      *at = ' ';
    else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
      at[0] = at[1] = ' ';
    else if (at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
      at[0] = at[1] = at[2] = ' ';
}

static char *
format_text (int priority, const GLogField *fields, gsize n_fields)
{
  const char *domain = field_of (fields, n_fields, "GLIB_DOMAIN");
  const char *message = field_of (fields, n_fields, "MESSAGE");
  g_autofree char *line = g_utf8_make_valid (message != NULL ? message : "", -1);

  one_line (line);
  return g_strdup_printf ("%s: %s%s%s\n", level_name (priority), domain != NULL ? domain : "",
                          domain != NULL ? ": " : "", line);
}

static char *
format_json (int priority, const GLogField *fields, gsize n_fields)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%S.%fZ");
  g_autofree char *text = NULL;

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "time");
  json_builder_add_string_value (builder, time);
  json_builder_set_member_name (builder, "level");
  json_builder_add_string_value (builder, level_name (priority));
  for (gsize i = 0; i < n_fields; i++)
    {
      g_autofree char *key = NULL, *value = NULL;

      if (fields[i].length >= 0 || strcmp (fields[i].key, "PRIORITY") == 0)
        continue;
      key = strcmp (fields[i].key, "GLIB_DOMAIN") == 0 ? g_strdup ("domain")
                                                       : g_ascii_strdown (fields[i].key, -1);
      value = g_utf8_make_valid (fields[i].value, -1);
      json_builder_set_member_name (builder, key);
      json_builder_add_string_value (builder, value);
    }
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, NULL);
  return g_strconcat (text, "\n", NULL);
}

static void
note_critical (const char *message)
{
  char *copy = g_strdup (message != NULL ? message : "");

  if (!g_atomic_pointer_compare_and_exchange (&first_critical, NULL, copy))
    g_free (copy);
}

const char *
log_get_first_critical (void)
{
  return g_atomic_pointer_get (&first_critical);
}

void
log_silence (void)
{
  log_level = -1;
}

static GLogWriterOutput
write_log (GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  g_autofree char *line = NULL;
  int priority = priority_of (flags);

  if (priority <= 3)
    note_critical (field_of (fields, n_fields, "MESSAGE"));
  if (priority > log_level)
    return G_LOG_WRITER_HANDLED;
  if (log_format == LOG_JOURNAL
      && g_log_writer_journald (flags, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
    return G_LOG_WRITER_HANDLED;
  line = log_format == LOG_JSON ? format_json (priority, fields, n_fields)
                                : format_text (priority, fields, n_fields);
  if (write (STDERR_FILENO, line, strlen (line)) < 0)
    return G_LOG_WRITER_UNHANDLED;
  return G_LOG_WRITER_HANDLED;
}

void
log_init (LogFormat format, int level)
{
  if (format == LOG_AUTO)
    format = g_log_writer_is_journald (STDERR_FILENO) ? LOG_JOURNAL : LOG_TEXT;
  log_format = format;
  log_level = level;
  g_log_set_writer_func (write_log, NULL, NULL);
}
