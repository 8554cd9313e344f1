/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Streams for shims that know FIFOs only: what the caller passed as a descriptor, and what is to be kept for
 * those who attach, is a FIFO in the bundle, and the daemon copies. */
#include "shim-runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fdio.h>

#include "pump.h"

#define MAX_INPUTS 8

struct _Streams
{
  gint refs;            /* (atomic) */
  Pump *outputs[3];     /* of 1 and 2; (nullable) */
  gboolean keeps_stdin; /* for those who attach */

  GMutex lock;       /* for all below */
  int hold;          /* stdin's FIFO, both ends, so that neither waits for the shim; or -1 */
  GPtrArray *inputs; /* of Pump */
  gboolean orphaned; /* stdin was a descriptor of the daemon's last life: it has ended */
};

/* Whose stdin a pump feeds. No reference: a process that is gone needs no end of its stdin. */
typedef struct
{
  ShimRuntime *runtime;
  char *ns;
  char *id;
  char *exec_id;
} Fed;

static Streams *
streams_new (gboolean keeps_stdin)
{
  Streams *self = g_new0 (Streams, 1);

  self->refs = 1;
  self->keeps_stdin = keeps_stdin;
  self->hold = -1;
  self->inputs = g_ptr_array_new_with_free_func ((GDestroyNotify)pump_unref);
  g_mutex_init (&self->lock);
  return self;
}

static Streams *
streams_ref (Streams *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
streams_unref (Streams *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  for (int i = 1; i < 3; i++)
    pump_unref (self->outputs[i]);
  g_ptr_array_unref (self->inputs);
  gantry_fd_clear (&self->hold);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* The streams of a process. Returns: (transfer full), or NULL. */
static Streams *
find (Task *task, const char *exec_id, gboolean *ret_exited)
{
  Streams *found = NULL;
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL && proc->streams != NULL)
    found = streams_ref (proc->streams);
  *ret_exited = proc != NULL && proc->status == GANTRY_TASK_STOPPED;
  g_mutex_unlock (&task->runtime->lock);
  return found;
}

static void
on_input_ended (GBytes *reply, const GError *error, gpointer user_data)
{
  /* Whether the process was still there to be told does not matter. */
}

/* The shim keeps the FIFO open itself until it is told that stdin has ended. */
static void
tell_end (Task *task, const char *exec_id)
{
  PbBuffer body = { 0 };
  Link *link;

  g_mutex_lock (&task->runtime->lock);
  link = task->link != NULL ? link_ref (task->link) : NULL;
  g_mutex_unlock (&task->runtime->lock);
  if (link == NULL)
    return;
  pb_put_string (&body, 1, task->id);
  pb_put_string (&body, 2, exec_id);
  pb_put_varint (&body, 3, 1);
  connection_send (link->connection, SHIM_TASK_SERVICE, "CloseIO", &body, NULL, on_input_ended, NULL, NULL);
  link_unref (link);
}

static void
stop_inputs (Streams *self)
{
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->inputs->len; i++)
    pump_stop (g_ptr_array_index (self->inputs, i));
  gantry_fd_clear (&self->hold);
  g_mutex_unlock (&self->lock);
}

/* The descriptor that was to be stdin has come to its end. */
static void
on_fed (gpointer user_data)
{
  Fed *fed = user_data;
  g_autoptr (Task) task = shim_runtime_lookup (fed->runtime, fed->ns, fed->id, NULL);
  gboolean exited;
  Streams *streams = task != NULL ? find (task, fed->exec_id, &exited) : NULL;

  if (streams == NULL)
    return;
  tell_end (task, fed->exec_id);
  stop_inputs (streams);
  streams_unref (streams);
}

static void
fed_free (gpointer data)
{
  Fed *fed = data;

  g_free (fed->ns);
  g_free (fed->id);
  g_free (fed->exec_id);
  g_free (fed);
}

static char *
fifo_name (const char *exec_id, int i)
{
  return g_strdup_printf ("io.%s.%d", exec_id, i);
}

static gboolean
is_kept (const char *uri)
{
  return uri != NULL && strcmp (uri, "stream:") == 0;
}

/* Feeds stdin from @source (taken over), or only holds it if that is -1. */
static gboolean
add_input (Streams *self, Task *task, int source, PumpEndFunc ended, const char *exec_id)
{
  Fed *fed = NULL;
  Pump *pump;

  for (guint i = self->inputs->len; i > 0; i--)
    if (pump_is_over (g_ptr_array_index (self->inputs, i - 1)))
      g_ptr_array_remove_index_fast (self->inputs, i - 1);
  if (self->hold < 0 || self->inputs->len >= MAX_INPUTS)
    {
      gboolean full = self->hold >= 0;

      close (source);
      return !full;
    }
  if (ended != NULL)
    {
      fed = g_new (Fed, 1);
      *fed = (Fed){ task->runtime, g_strdup (task->ns), g_strdup (task->id), g_strdup (exec_id) };
    }
  pump = pump_new (task->runtime->context, source, ended, fed, fed != NULL ? fed_free : NULL);
  g_ptr_array_add (self->inputs, pump);
  return pump_add_sink (pump, fcntl (self->hold, F_DUPFD_CLOEXEC, 3), FALSE);
}

/* Opens the FIFO of stream @i; made, if @make. */
static gboolean
open_fifo (Streams *self, Task *task, const char *exec_id, int i, gboolean make, GError **error)
{
  g_autofree char *name = fifo_name (exec_id, i);
  int fd;

  if (make && mkfifoat (task->dir_fd, name, 0600) < 0 && errno != EEXIST)
    return gantry_throw_errno (error, errno, "making a FIFO for container %s", task->id);
  fd = openat (task->dir_fd, name, (i == 0 ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening a FIFO of container %s", task->id);
  if (i == 0)
    self->hold = fd;
  else
    self->outputs[i] = pump_new (task->runtime->context, fd, NULL, NULL, NULL);
  return TRUE;
}

/* Whether @uri is a descriptor. */
static gboolean
is_passed (const char *uri)
{
  return uri != NULL && g_str_has_prefix (uri, "fd:");
}

static gboolean
connect_passed (Streams *self, Task *task, const char *exec_id, int i, GantryStdio *stdio, const char *uri,
                GError **error)
{
  int n_fds = 0, fd = -1;
  const int *list = stdio->fds != NULL ? g_unix_fd_list_peek_fds (stdio->fds, &n_fds) : NULL;
  gint64 n = g_ascii_strtoll (uri + strlen ("fd:"), NULL, 10);

  if (n < 0 || n >= n_fds)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "stdio \"%s\" names none of the %d descriptors that were passed", uri, n_fds);
  fd = fcntl (list[n], F_DUPFD_CLOEXEC, 3);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "taking a stream of container %s", task->id);
  return i == 0 ? add_input (self, task, fd, on_fed, exec_id)
                : pump_add_sink (self->outputs[i], fd, stdio->terminal);
}

/* The words for stream @i that the shim understands. Returns: (transfer full), or NULL. */
static char *
translate (Streams *self, Task *task, const char *exec_id, int i, GantryStdio *stdio, GError **error)
{
  const char *const uris[] = { stdio->stdin_uri, stdio->stdout_uri, stdio->stderr_uri }, *uri = uris[i];
  g_autofree char *name = fifo_name (exec_id, i);

  if (uri == NULL || (i == 2 && stdio->terminal))
    return g_strdup ("");
  if (g_str_has_prefix (uri, "stream:///"))
    return g_strconcat ("file://", uri + strlen ("stream://"), NULL);
  if (g_str_has_prefix (uri, "fifo:///"))
    return g_strdup (uri + strlen ("fifo://"));
  if (!is_passed (uri) && !is_kept (uri))
    return g_strdup (uri);
  if (!open_fifo (self, task, exec_id, i, TRUE, error)
      || (is_passed (uri) && !connect_passed (self, task, exec_id, i, stdio, uri, error)))
    return NULL;
  return g_strconcat (task->bundle, "/", name, NULL);
}

GantryStdio *
relay_open (Task *task, const char *exec_id, GantryStdio *stdio, Streams **ret_streams, GError **error)
{
  Streams *self = streams_new (is_kept (stdio->stdin_uri));
  char *made[3] = { NULL };
  GantryStdio *translated = NULL;
  gboolean ok = TRUE;

  for (int i = 0; ok && i < 3; i++)
    {
      made[i] = translate (self, task, exec_id, i, stdio, error);
      ok = made[i] != NULL;
    }
  /* containerd's shim can do without all streams, or without stdin, but not without one of the outputs. */
  for (int i = 1; ok && i < 3 && !stdio->terminal; i++)
    if (made[i][0] == '\0' && (made[0][0] != '\0' || made[3 - i][0] != '\0'))
      {
        g_free (made[i]);
        made[i] = g_strdup ("/dev/null");
      }
  if (ok)
    translated = gantry_stdio_new (made[0], made[1], stdio->terminal ? NULL : made[2], stdio->terminal, NULL);
  for (int i = 0; i < 3; i++)
    g_free (made[i]);
  if (ok)
    *ret_streams = self;
  else
    {
      streams_unref (self);
      relay_remove (task, exec_id);
    }
  return translated;
}

Streams *
relay_reopen (Task *task, const char *exec_id, GantryStdio *stdio)
{
  const char *const uris[] = { stdio->stdin_uri, stdio->stdout_uri, stdio->stderr_uri };
  Streams *self = streams_new (is_kept (stdio->stdin_uri));

  for (int i = 0; i < (stdio->terminal ? 2 : 3); i++)
    {
      g_autoptr (GError) error = NULL;

      if (i == 0 && is_passed (uris[i]))
        self->orphaned = TRUE;
      else if ((is_passed (uris[i]) || is_kept (uris[i]))
               && !open_fifo (self, task, exec_id, i, FALSE, &error))
        gantry_host_log (task->runtime->host, GANTRY_LOG_WARNING, "%s", error->message);
    }
  return self;
}

void
relay_remove (Task *task, const char *exec_id)
{
  for (int i = 0; i < 3; i++)
    {
      g_autofree char *name = fifo_name (exec_id, i);

      unlinkat (task->dir_fd, name, 0);
    }
}

void
relay_start (Task *task, const char *exec_id)
{
  gboolean exited, orphaned;
  Streams *self = find (task, exec_id, &exited);

  if (self == NULL)
    return;
  for (int i = 1; i < 3; i++)
    if (self->outputs[i] != NULL)
      pump_start (self->outputs[i]);
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->inputs->len; i++)
    pump_start (g_ptr_array_index (self->inputs, i));
  orphaned = self->orphaned;
  g_mutex_unlock (&self->lock);
  if (orphaned)
    tell_end (task, exec_id);
  if (exited)
    relay_finish (task->runtime, self);
  streams_unref (self);
}

static gboolean
on_finish (gpointer data)
{
  Streams *self = data;

  stop_inputs (self);
  for (int i = 1; i < 3; i++)
    if (self->outputs[i] != NULL)
      pump_look (self->outputs[i]);
  return G_SOURCE_REMOVE;
}

static void
release (gpointer data)
{
  streams_unref (data);
}

void
relay_finish (ShimRuntime *runtime, Streams *self)
{
  g_autoptr (GSource) source = NULL;

  if (self == NULL)
    return;
  source = g_idle_source_new ();
  g_source_set_priority (source, G_PRIORITY_HIGH);
  g_source_set_callback (source, on_finish, streams_ref (self), release);
  g_source_attach (source, runtime->context);
}

void
relay_close_stdin (Task *task, const char *exec_id)
{
  gboolean exited;
  Streams *self = find (task, exec_id, &exited);

  if (self != NULL && self->keeps_stdin)
    stop_inputs (self);
  streams_unref (self);
}

static gboolean
attach_one (Streams *self, Task *task, const char *exec_id, int i, int fd, gboolean terminal, GError **error)
{
  int own = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  gboolean ok = TRUE;

  if (own < 0)
    return gantry_throw_errno (error, errno, "taking a stream of container %s", task->id);
  if (i == 0)
    {
      g_mutex_lock (&self->lock);
      ok = add_input (self, task, own, NULL, exec_id);
      if (ok && self->inputs->len > 0)
        pump_start (g_ptr_array_index (self->inputs, self->inputs->len - 1));
      g_mutex_unlock (&self->lock);
    }
  else if (self->outputs[i] != NULL)
    ok = pump_add_sink (self->outputs[i], own, terminal);
  else
    close (own);
  return ok || gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "too many are attached already");
}

gboolean
relay_attach (Task *task, const char *exec_id, GantryStdio *stdio, GUnixFDList *fds, GError **error)
{
  const char *const uris[] = { stdio->stdin_uri, stdio->stdout_uri, stdio->stderr_uri };
  int n_fds = 0;
  const int *list = fds != NULL ? g_unix_fd_list_peek_fds (fds, &n_fds) : NULL;
  gboolean exited, ok = TRUE;
  Streams *self = find (task, exec_id, &exited);

  if (exited || self == NULL)
    ok = gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                       exited ? "process has exited" : "the streams of this process are not kept");
  for (int i = 0; ok && i < (stdio->terminal ? 2 : 3); i++)
    {
      int fd = i < n_fds ? list[i] : stdio->terminal && i == 1 && n_fds == 1 ? list[0] : -1;

      if (fd < 0)
        continue;
      if (!is_kept (uris[i]))
        ok = gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                           "the streams of this process are not kept: they are \"%.200s\"; start it detached "
                           "to attach later",
                           uris[i] != NULL && uris[i][0] != '\0' ? uris[i] : "/dev/null");
      else
        ok = attach_one (self, task, exec_id, i, fd, stdio->terminal, error);
    }
  streams_unref (self);
  return ok;
}
