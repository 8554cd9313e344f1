/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the daemon writes down of the processes of shims that are not native, and finds again after a restart.
 * In the bundle, for each process: "stdio.<exec id>", before the shim is asked to make it: a message with the
 * members of StateResponse that tell its streams, in the caller's own words; "exit.<exec id>", before its end
 * is told: "<status> <time>". The bundle is on a tmpfs or as transient as one: a rename is enough. */
#include "shim-runtime.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include <fdio.h>

#define STREAMS_PREFIX "stdio."
#define EXIT_PREFIX    "exit."
#define MAX_RECORD     65536

gboolean
record_stdio (Task *task, const char *exec_id, GantryStdio *stdio, GError **error)
{
  g_autofree char *name = g_strconcat (STREAMS_PREFIX, exec_id, NULL);
  PbBuffer message = { 0 };
  gboolean ok;

  shim_put_stdio (&message, 5, stdio);
  pb_put_varint (&message, 8, stdio != NULL && stdio->terminal);
  ok = message.length <= MAX_RECORD
           ? gantry_replace_file_at (task->dir_fd, name,
                                     message.data != NULL ? (const char *)message.data : "", message.length,
                                     0600, FALSE, error)
           : gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "the streams of process %s have too long names", exec_id);
  pb_clear (&message);
  return ok;
}

GantryStdio *
record_read_stdio (Task *task, const char *exec_id)
{
  g_autofree char *name = g_strconcat (STREAMS_PREFIX, exec_id, NULL);
  g_autoptr (GBytes) bytes = gantry_read_file_at (task->dir_fd, name, MAX_RECORD, NULL);
  char *text[3] = { NULL };
  gboolean terminal = FALSE;
  GantryStdio *stdio;
  PbReader reader;
  PbField field;

  if (bytes == NULL)
    return NULL;
  reader = pb_reader (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  while (pb_next (&reader, &field) > 0)
    if (field.number == 8 && field.wire == 0)
      terminal = field.value != 0;
    else if (field.number >= 5 && field.number <= 7 && field.wire == 2 && text[field.number - 5] == NULL)
      text[field.number - 5] = g_strndup ((const char *)field.data, field.length);
  stdio = gantry_stdio_new (text[0], text[1], text[2], terminal, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (text); i++)
    g_free (text[i]);
  return stdio;
}

char **
record_list_execs (Task *task)
{
  GPtrArray *found = g_ptr_array_new ();
  int fd = openat (task->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    gantry_fd_clear (&fd);
  while (dir != NULL && (entry = readdir (dir)) != NULL)
    if (g_str_has_prefix (entry->d_name, STREAMS_PREFIX)
        && shim_runtime_is_name (entry->d_name + strlen (STREAMS_PREFIX)))
      g_ptr_array_add (found, g_strdup (entry->d_name + strlen (STREAMS_PREFIX)));
  if (dir != NULL)
    closedir (dir);
  g_ptr_array_add (found, NULL);
  return (char **)g_ptr_array_free (found, FALSE);
}

void
record_exit (Task *task, const char *exec_id, guint32 status, gint64 exited_ns)
{
  g_autofree char *name = g_strconcat (EXIT_PREFIX, exec_id, NULL);
  g_autofree char *text = g_strdup_printf ("%u %" G_GINT64_FORMAT "\n", status, exited_ns);
  g_autoptr (GError) error = NULL;

  /* While its shim is there, that knows it, too. */
  if (!gantry_replace_file_at (task->dir_fd, name, text, strlen (text), 0600, FALSE, &error))
    gantry_host_log (task->runtime->host, GANTRY_LOG_WARNING, "%s", error->message);
}

void
record_remove (Task *task, const char *exec_id)
{
  static const char *const prefixes[] = { STREAMS_PREFIX, EXIT_PREFIX };

  for (gsize i = 0; i < G_N_ELEMENTS (prefixes); i++)
    {
      g_autofree char *name = g_strconcat (prefixes[i], exec_id, NULL);

      unlinkat (task->dir_fd, name, 0);
    }
}
