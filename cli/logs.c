/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry logs. */
#include "cli.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a container wrote last may still be on its way to the log when its end is told. */
#define LAST_WORDS_MS 200
/* Where changes are not told: the caller may not watch the file. */
#define POLL_MS  250
#define AGAIN_MS 20

typedef struct
{
  int stream;      /* 1 or 2 */
  gboolean begins; /* a line */
  GString *text;   /* which may have any byte */
} Entry;

typedef struct
{
  GantryContainer *container;
  gint64 lines; /* at most so many of what is there; negative: all */
  char *since;  /* (nullable): as in the log, to be compared as text */
  gboolean times;
  GQueue last; /* of Entry, while @lines counts */
  gint64 n_begun;
  gboolean counting;
  gboolean in_line[3]; /* the last entry of the stream was a part */
  int fd;
  GString *rest; /* of a line that is not whole */
  int inotify_fd;
  guint again;
  GMainLoop *loop;
} Logs;

static void
entry_free (gpointer data)
{
  Entry *entry = data;

  g_string_free (entry->text, TRUE);
  g_free (entry);
}

static void
print_entry (const Entry *entry)
{
  const char *at = entry->text->str;
  gsize length = entry->text->len;

  while (length > 0)
    {
      ssize_t n = write (entry->stream == 2 ? STDERR_FILENO : STDOUT_FILENO, at, length);

      if (n < 0 && errno != EINTR)
        return;
      if (n > 0)
        {
          at += n;
          length -= (gsize)n;
        }
    }
}

/* Keeps the last lines until all that is there has been read. */
static void
take_entry (Logs *self, Entry *entry)
{
  if (!self->counting)
    {
      print_entry (entry);
      entry_free (entry);
      return;
    }
  self->n_begun += entry->begins;
  g_queue_push_tail (&self->last, entry);
  while (self->n_begun > self->lines)
    {
      Entry *first = g_queue_pop_head (&self->last);

      self->n_begun -= first->begins;
      entry_free (first);
      /* And the other parts of its line. */
      while (!g_queue_is_empty (&self->last) && !((Entry *)g_queue_peek_head (&self->last))->begins)
        entry_free (g_queue_pop_head (&self->last));
    }
}

static GString *
entry_text (Logs *self, const char *time, const char *stream, gboolean begins, gboolean ends,
            const char *text, gsize length)
{
  GString *made = g_string_new (NULL);
  g_autoptr (JsonBuilder) builder = NULL;
  g_autoptr (JsonNode) node = NULL;
  g_autofree char *valid = NULL;
  g_autofree char *line = NULL;

  if (!cli.json)
    {
      if (self->times && begins)
        g_string_append_printf (made, "%s ", time);
      g_string_append_len (made, text, (gssize)length);
      return ends ? g_string_append_c (made, '\n') : made;
    }
  builder = json_builder_new ();
  valid = g_utf8_make_valid (text, (gssize)length);
  json_builder_begin_object (builder);
  json_builder_add_string_value (json_builder_set_member_name (builder, "time"), time);
  json_builder_add_string_value (json_builder_set_member_name (builder, "stream"), stream);
  json_builder_add_string_value (json_builder_set_member_name (builder, "text"), valid);
  json_builder_add_boolean_value (json_builder_set_member_name (builder, "partial"), !ends);
  node = json_builder_get_root (json_builder_end_object (builder));
  line = json_to_string (node, FALSE);
  g_string_append_printf (made, "%s\n", line);
  return made;
}

/* "TIME STREAM TAG TEXT". What is none, after a full disk, is left out. */
static void
take_line (Logs *self, char *line, const char *end)
{
  char *stream = strchr (line, ' '), *tag = stream != NULL ? strchr (stream + 1, ' ') : NULL;
  char *text = tag != NULL ? strchr (tag + 1, ' ') : NULL;
  Entry *entry;
  gboolean ends;
  int number;

  if (text == NULL)
    return;
  *stream++ = *tag++ = *text++ = '\0';
  number = strcmp (stream, "stderr") == 0 ? 2 : 1;
  ends = strcmp (tag, "P") != 0;
  if (self->since == NULL || strcmp (line, self->since) >= 0)
    {
      entry = g_new (Entry, 1);
      entry->stream = cli.json ? 1 : number;
      entry->begins = !self->in_line[number];
      entry->text = entry_text (self, line, stream, entry->begins, ends, text, (gsize)(end - text));
      take_entry (self, entry);
    }
  self->in_line[number] = !ends;
}

/* All that is there of @fd. */
static void
read_all (Logs *self, int fd)
{
  char buffer[65536];
  ssize_t n;

  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    {
      char *at, *end;

      g_string_append_len (self->rest, buffer, n);
      for (at = self->rest->str;
           (end = memchr (at, '\n', self->rest->len - (gsize)(at - self->rest->str))) != NULL; at = end + 1)
        {
          *end = '\0';
          take_line (self, at, end);
        }
      g_string_erase (self->rest, 0, at - self->rest->str);
    }
}

static gboolean
same_file (int a, int b)
{
  struct stat one, other;

  return fstat (a, &one) == 0 && fstat (b, &other) == 0 && one.st_ino == other.st_ino
         && one.st_dev == other.st_dev;
}

/* What was moved away before @self->fd, unless @known (or -1) is that. */
static void
read_previous (Logs *self, int known)
{
  int fd = gantry_container_open_log (self->container, TRUE, NULL, NULL);

  if (fd < 0)
    return;
  if (!same_file (fd, self->fd) && (known < 0 || !same_file (fd, known)))
    read_all (self, fd);
  close (fd);
}

static void
watch_file (Logs *self)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", self->fd);

  if (self->inotify_fd >= 0
      && inotify_add_watch (self->inotify_fd, path, IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB) < 0)
    {
      close (self->inotify_fd);
      self->inotify_fd = -1;
    }
}

/* Goes on with the log that has taken the place of the one that we read. Returns: whether there is one. */
static gboolean
go_on (Logs *self)
{
  int old = self->fd, fd = gantry_container_open_log (self->container, FALSE, NULL, NULL);

  if (fd < 0)
    return FALSE;
  if (same_file (fd, old))
    {
      close (fd);
      return TRUE;
    }
  self->fd = fd;
  watch_file (self);
  read_previous (self, old);
  read_all (self, self->fd);
  close (old);
  return TRUE;
}

static gboolean on_again (gpointer data);

/* What has come, and what comes after it if @moved. */
static void
read_on (Logs *self, gboolean moved)
{
  struct stat st;

  read_all (self, self->fd);
  /* It may have been moved more than once since. */
  moved |= fstat (self->fd, &st) == 0 && st.st_nlink == 0;
  /* Between the move of one and the making of the next there is none. */
  if (moved && !go_on (self) && self->again == 0)
    self->again = g_timeout_add (AGAIN_MS, on_again, self);
}

static gboolean
on_again (gpointer data)
{
  Logs *self = data;

  self->again = 0;
  read_on (self, TRUE);
  return G_SOURCE_REMOVE;
}

static gboolean
on_changed (int fd, GIOCondition condition, gpointer data)
{
  char buffer[4096] __attribute__ ((aligned (__alignof__(struct inotify_event))));
  ssize_t n = read (fd, buffer, sizeof buffer);
  gboolean moved = FALSE;

  for (const char *at = buffer; at < buffer + n;
       at += sizeof (struct inotify_event) + ((const struct inotify_event *)at)->len)
    moved |= (((const struct inotify_event *)at)->mask & (IN_MOVE_SELF | IN_Q_OVERFLOW)) != 0;
  read_on (data, moved);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_poll (gpointer data)
{
  read_on (data, TRUE);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_last_words (gpointer data)
{
  Logs *self = data;

  read_on (self, TRUE);
  g_main_loop_quit (self->loop);
  return G_SOURCE_REMOVE;
}

/* It has ended, or was removed, or the daemon has gone. */
static void
on_ended (GObject *object, GAsyncResult *result, gpointer data)
{
  gantry_process_wait_finish (GANTRY_PROCESS (object), result, NULL);
  g_timeout_add (LAST_WORDS_MS, on_last_words, data);
}

static void
follow (Logs *self)
{
  g_autoptr (GantryProcess) process = gantry_container_get_init (self->container);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);

  self->loop = loop;
  self->inotify_fd = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  watch_file (self);
  if (self->inotify_fd >= 0)
    g_unix_fd_add (self->inotify_fd, G_IO_IN, on_changed, self);
  else
    g_timeout_add (POLL_MS, on_poll, self);
  gantry_process_wait_async (process, NULL, on_ended, self);
  /* It may have grown, or been moved, before it was watched. */
  read_on (self, TRUE);
  g_main_loop_run (loop);
}

/* "90s", "10m", "2h", "3d", or a time as in RFC 3339; as in the log. Returns: (transfer full), or NULL. */
static char *
parse_since (const char *text)
{
  static const char units[] = "smhd";
  static const int seconds[] = { 1, 60, 3600, 86400 };
  g_autoptr (GTimeZone) zone = g_time_zone_new_local ();
  g_autoptr (GDateTime) at = NULL, utc = NULL;
  char *end;
  guint64 n = g_ascii_strtoull (text, &end, 10);
  const char *unit = end > text && end[0] != '\0' && end[1] == '\0' ? strchr (units, end[0]) : NULL;

  if (unit != NULL && n < 1000000)
    {
      g_autoptr (GDateTime) now = g_date_time_new_now_utc ();

      at = g_date_time_add_seconds (now, -(double)n * seconds[unit - units]);
    }
  else
    at = g_date_time_new_from_iso8601 (text, zone);
  utc = at != NULL ? g_date_time_to_utc (at) : NULL;
  return utc != NULL ? g_date_time_format (utc, "%Y-%m-%dT%H:%M:%S.%f") : NULL;
}

static void
print_kept (Logs *self)
{
  Entry *entry;

  self->counting = FALSE;
  while ((entry = g_queue_pop_head (&self->last)) != NULL)
    {
      print_entry (entry);
      entry_free (entry);
    }
}

static int
print_logs (Logs *self, gboolean following)
{
  GError *error = NULL;

  self->fd = gantry_container_open_log (self->container, FALSE, NULL, &error);
  if (self->fd < 0)
    return cli_fail_error (error);
  self->counting = self->lines >= 0;
  self->rest = g_string_new (NULL);
  read_previous (self, -1);
  read_all (self, self->fd);
  print_kept (self);
  if (following)
    follow (self);
  g_string_free (self->rest, TRUE);
  close (self->fd);
  return 0;
}

int
cli_logs (int argc, char **argv)
{
  Logs logs = { .lines = -1, .inotify_fd = -1 };
  gboolean following = FALSE;
  g_autofree char *since = NULL;
  const GOptionEntry entries[] = {
    { "follow", 'f', 0, G_OPTION_ARG_NONE, &following, "Go on until the container ends", NULL },
    { "lines", 'n', 0, G_OPTION_ARG_INT64, &logs.lines, "Only the last lines of what is there", "N" },
    { "since", 0, 0, G_OPTION_ARG_STRING, &since, "Only what was written since: 90s, 10m, 2h, 3d, or a time",
      "TIME" },
    { "timestamps", 't', 0, G_OPTION_ARG_NONE, &logs.times, "Show when each line was written", NULL },
    { NULL },
  };
  int status;

  if (!cli_parse (&argc, &argv, "logs", "CONTAINER",
                  "Prints what a detached container has written (run -d, start): its standard output to "
                  "ours, its standard error to\n"
                  "ours. At least the last 8 MiB are kept, until the container is removed.\n\n  gantry logs "
                  "-f -n 10 web",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("logs", "logs needs a container");
  if (since != NULL && (logs.since = parse_since (since)) == NULL)
    return cli_usage ("logs",
                      "--since \"%s\" is neither a time such as 2026-01-31T12:00:00Z nor a span such as 10m",
                      since);
  logs.container = cli_container (argv[1]);
  if (logs.container == NULL)
    return 1;
  status = print_logs (&logs, following);
  g_object_unref (logs.container);
  g_free (logs.since);
  return status;
}
