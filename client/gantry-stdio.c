/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-stdio-private.h"

#include <fcntl.h>
#include <unistd.h>

/**
 * GantryStdio:
 *
 * Where the standard streams of a process go. Each is an URI: %NULL for /dev/null, "file:///path" (appended
 * to), "fifo:///path", "stream:" (kept for gantry_process_attach(), again and again), "stream:///path" (also
 * logged), "binary:///path" (a logging program).
 */
struct _GantryStdio
{
  GObject parent_instance;
  char *uris[3];
  gboolean terminal;
  GUnixFDList *fds;
};

G_DEFINE_FINAL_TYPE (GantryStdio, gantry_stdio, G_TYPE_OBJECT)

static void
gantry_stdio_finalize (GObject *object)
{
  GantryStdio *self = GANTRY_STDIO (object);

  for (gsize i = 0; i < G_N_ELEMENTS (self->uris); i++)
    g_free (self->uris[i]);
  g_object_unref (self->fds);
  G_OBJECT_CLASS (gantry_stdio_parent_class)->finalize (object);
}

static void
gantry_stdio_class_init (GantryStdioClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_stdio_finalize;
}

static void
gantry_stdio_init (GantryStdio *self)
{
  self->fds = g_unix_fd_list_new ();
}

/**
 * gantry_stdio_new:
 * @stdin_uri: (nullable): an URI
 * @stdout_uri: (nullable): an URI
 * @stderr_uri: (nullable): an URI; not used with @terminal
 * @terminal: whether the process gets a terminal
 *
 * Returns: (transfer full): streams by URIs
 */
GantryStdio *
gantry_stdio_new (const char *stdin_uri, const char *stdout_uri, const char *stderr_uri, gboolean terminal)
{
  GantryStdio *self = g_object_new (GANTRY_TYPE_STDIO, NULL);

  self->uris[0] = g_strdup (stdin_uri);
  self->uris[1] = g_strdup (stdout_uri);
  self->uris[2] = g_strdup (stderr_uri);
  self->terminal = terminal;
  return self;
}

/* @fd becomes stream @index; -1: /dev/null. The descriptor is duplicated. */
static void
set_fd (GantryStdio *self, gsize index, int fd)
{
  int at = fd >= 0 ? g_unix_fd_list_append (self->fds, fd, NULL) : -1;

  if (at >= 0)
    self->uris[index] = g_strdup_printf ("fd:%d", at);
}

/**
 * gantry_stdio_new_for_fds:
 * @stdin_fd: a descriptor, or -1 for /dev/null
 * @stdout_fd: a descriptor, or -1 for /dev/null
 * @stderr_fd: a descriptor, or -1 for /dev/null
 *
 * The descriptors are duplicated. They are the process's own streams: nothing is copied in between.
 *
 * Returns: (transfer full): streams by descriptors
 */
GantryStdio *
gantry_stdio_new_for_fds (int stdin_fd, int stdout_fd, int stderr_fd)
{
  GantryStdio *self = g_object_new (GANTRY_TYPE_STDIO, NULL);

  set_fd (self, 0, stdin_fd);
  set_fd (self, 1, stdout_fd);
  set_fd (self, 2, stderr_fd);
  return self;
}

/**
 * gantry_stdio_new_for_console:
 * @fd: a socket, read and written
 *
 * The process gets a terminal of its own; what is typed comes from @fd, and its output goes there.
 *
 * Returns: (transfer full): a terminal on a socket
 */
GantryStdio *
gantry_stdio_new_for_console (int fd)
{
  GantryStdio *self = g_object_new (GANTRY_TYPE_STDIO, NULL);

  set_fd (self, 0, fd);
  self->uris[1] = g_strdup (self->uris[0]);
  self->terminal = TRUE;
  return self;
}

/**
 * gantry_stdio_new_kept:
 * @terminal: whether the process gets a terminal
 *
 * Returns: (transfer full): streams that wait for gantry_process_attach()
 */
GantryStdio *
gantry_stdio_new_kept (gboolean terminal)
{
  return gantry_stdio_new ("stream:", "stream:", terminal ? NULL : "stream:", terminal);
}

/**
 * gantry_stdio_new_logged:
 * @terminal: whether the process gets a terminal
 *
 * As gantry_stdio_new_kept(); what the process writes is also kept, see gantry_container_open_log().
 *
 * Returns: (transfer full): streams of a container's init process
 */
GantryStdio *
gantry_stdio_new_logged (gboolean terminal)
{
  return gantry_stdio_new ("stream:", "log:", terminal ? NULL : "log:", terminal);
}

GVariant *
_gantry_stdio_add_options (GantryStdio *self, GVariant *options)
{
  static const char *const names[] = { "stdin", "stdout", "stderr" };
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  GVariantDict dict;

  g_variant_dict_init (&dict, held);
  for (gsize i = 0; self != NULL && i < G_N_ELEMENTS (names); i++)
    if (self->uris[i] != NULL)
      g_variant_dict_insert (&dict, names[i], "s", self->uris[i]);
  if (self != NULL && self->terminal)
    g_variant_dict_insert (&dict, "terminal", "b", TRUE);
  return g_variant_dict_end (&dict);
}

GUnixFDList *
_gantry_stdio_get_fds (GantryStdio *self)
{
  return self != NULL ? self->fds : NULL;
}
