/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sub-commands of a shim's program. It is called in the bundle as
 *     <program> -namespace NS -id ID -address ADDRESS [-sockets DIR] -bundle DIR start | delete
 * "start" gets the runtime's options (an Any) on stdin and prints the address of the server that it leaves
 * behind or has found; "delete" prints a DeleteResponse. "-info" instead of all this prints what the shim is
 * (containerd.types.RuntimeInfo). */
#include "shim-runtime.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fdio.h>

#define MAX_OUTPUT      65536
#define TIMEOUT_SECONDS 60

typedef struct
{
  GByteArray *output;
  GByteArray *complaint;
  int status; /* of waitpid () */
} Ran;

static void
ran_clear (Ran *ran)
{
  g_clear_pointer (&ran->output, g_byte_array_unref);
  g_clear_pointer (&ran->complaint, g_byte_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Ran, ran_clear)

/* Reads both until their ends. Returns: FALSE if that takes too long. */
static gboolean
read_both (int output, int complaint, Ran *ran)
{
  struct pollfd fds[] = { { output, POLLIN, 0 }, { complaint, POLLIN, 0 } };
  GByteArray *const arrays[] = { ran->output, ran->complaint };
  gint64 deadline = g_get_monotonic_time () + TIMEOUT_SECONDS * G_USEC_PER_SEC;

  while (fds[0].fd >= 0 || fds[1].fd >= 0)
    {
      gint64 rest = (deadline - g_get_monotonic_time ()) / 1000;
      int ready = rest > 0 ? poll (fds, 2, (int)rest) : 0;

      if (ready == 0)
        return FALSE;
      for (int i = 0; ready > 0 && i < 2; i++)
        {
          guint8 chunk[4096];
          gssize n;

          if (fds[i].revents == 0)
            continue;
          n = read (fds[i].fd, chunk, sizeof chunk);
          if (n > 0 && arrays[i]->len < MAX_OUTPUT)
            g_byte_array_append (arrays[i], chunk, (guint)n);
          else if (n == 0 || (n < 0 && errno != EINTR))
            fds[i].fd = -1;
        }
    }
  return TRUE;
}

/* posix_spawn (): the daemon's memory is not copied, as it would be by fork (). */
static gboolean
spawn (const char *directory, const char *const *argv, char **env, const int fds[3], pid_t *ret_pid,
       GError **error)
{
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, defaults;
  int code;

  sigemptyset (&none);
  sigemptyset (&defaults);
  sigaddset (&defaults, SIGPIPE);
  posix_spawnattr_init (&attributes);
  posix_spawnattr_setflags (&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask (&attributes, &none);
  posix_spawnattr_setsigdefault (&attributes, &defaults);
  posix_spawn_file_actions_init (&actions);
  for (int i = 0; i < 3; i++)
    posix_spawn_file_actions_adddup2 (&actions, fds[i], i);
  posix_spawn_file_actions_addchdir_np (&actions, directory);
  code = posix_spawnp (ret_pid, argv[0], &actions, &attributes, (char *const *)argv, env);
  posix_spawn_file_actions_destroy (&actions);
  posix_spawnattr_destroy (&attributes);
  return code == 0 || gantry_throw_errno (error, code, "starting the shim %s", argv[0]);
}

static gboolean
run (ShimRuntime *runtime, const char *directory, const char *const *argv, int input, Ran *ran,
     GError **error)
{
  /* What the service manager said to us is not for a shim: runc and crun would wait for a container to say
   * READY=1. */
  static const char *const ours[]
      = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES" };
  g_auto (GStrv) env = g_get_environ ();
  int pipes[2][2] = { { -1, -1 }, { -1, -1 } };
  gboolean ok = pipe2 (pipes[0], O_CLOEXEC) == 0 && pipe2 (pipes[1], O_CLOEXEC) == 0;
  pid_t pid = 0;

  ran->output = g_byte_array_new ();
  ran->complaint = g_byte_array_new ();
  for (gsize i = 0; i < G_N_ELEMENTS (ours); i++)
    env = g_environ_unsetenv (env, ours[i]);
  env = g_environ_setenv (env, "TTRPC_ADDRESS",
                          runtime->events_address != NULL ? runtime->events_address : "", TRUE);
  if (!ok)
    gantry_throw_errno (error, errno, "starting the shim %s", argv[0]);
  else
    ok = spawn (directory, argv, env, (int[]){ input, pipes[0][1], pipes[1][1] }, &pid, error);
  gantry_fd_clear (&pipes[0][1]);
  gantry_fd_clear (&pipes[1][1]);
  if (ok && !read_both (pipes[0][0], pipes[1][0], ran))
    {
      kill (pid, SIGKILL);
      ok = gantry_throw (error, GANTRY_ERROR_DEADLINE_EXCEEDED, "the shim %s gave no answer within %d s",
                         argv[0], TIMEOUT_SECONDS);
    }
  gantry_fd_clear (&pipes[0][0]);
  gantry_fd_clear (&pipes[1][0]);
  while (pid > 0 && waitpid (pid, &ran->status, 0) < 0 && errno == EINTR)
    ;
  return ok;
}

/* Whether it ended well. Errors: INTERNAL, in its own words. */
static gboolean
check_status (const Ran *ran, const char *what, GError **error)
{
  g_autofree char *text = NULL, *valid = NULL;

  if (g_spawn_check_wait_status (ran->status, NULL))
    return TRUE;
  text = g_strndup ((const char *)ran->complaint->data, ran->complaint->len);
  valid = g_utf8_make_valid (g_strstrip (text), -1);
  return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the shim %s: %s", what, valid);
}

/* An fd to read the Any from. */
static int
options_fd (GVariant *options, GError **error)
{
  g_autoptr (GBytes) value = NULL;
  gantry_autofd int fd = -1;
  PbBuffer any = { 0 };
  gboolean ok;

  if (options == NULL)
    {
      fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
      if (fd < 0)
        gantry_throw_errno (error, errno, "opening /dev/null");
      return gantry_fd_steal (&fd);
    }
  value = gantry_any_get_bytes (options);
  pb_put_string (&any, 1, gantry_any_get_type_url (options));
  pb_put_bytes (&any, 2, g_bytes_get_data (value, NULL), g_bytes_get_size (value));
  fd = memfd_create ("options", MFD_CLOEXEC);
  ok = fd >= 0 && !any.failed && pwrite (fd, any.data, any.length, 0) == (gssize)any.length;
  pb_clear (&any);
  if (ok)
    return gantry_fd_steal (&fd);
  gantry_throw_errno (error, errno, "handing the runtime's options to the shim");
  return -1;
}

gboolean
task_start_shim (Task *self, GVariant *options, GError **error)
{
  ShimRuntime *runtime = self->runtime;
  g_autofree char *sockets = g_build_filename (runtime->path, "s", NULL);
  const char *argv[16] = { runtime->shim, "-namespace",  self->ns,  "-id",       self->id,
                           "-address",    runtime->path, "-bundle", self->bundle };
  gantry_autofd int input = options_fd (options, error);
  g_auto (Ran) ran = { 0 };
  gsize n = 9;

  if (runtime->native)
    {
      argv[n++] = "-sockets";
      argv[n++] = sockets;
    }
  argv[n++] = "start";
  if (input < 0 || !run (runtime, self->bundle, argv, input, &ran, error))
    return FALSE;
  if (!check_status (&ran, "did not start", error))
    return FALSE;
  return runtime->native
         || gantry_replace_file_at (self->dir_fd, "address", ran.output->data, ran.output->len, 0600, FALSE,
                                    error);
}

gboolean
shim_info (GantryRuntime *runtime, GVariant *options, GBytes **ret_info, GCancellable *cancellable,
           GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  const char *const argv[] = { self->shim, "-info", NULL };
  gantry_autofd int input = options_fd (held, error);
  g_auto (Ran) ran = { 0 };

  if (input < 0 || !run (self, self->path, argv, input, &ran, error)
      || !check_status (&ran, "tells nothing of itself", error))
    return FALSE;
  *ret_info = g_byte_array_free_to_bytes (g_steal_pointer (&ran.output));
  return TRUE;
}

void
task_clean_up (Task *self, guint32 *ret_status, gint64 *ret_exited)
{
  ShimRuntime *runtime = self->runtime;
  const char *const argv[] = { runtime->shim, "-namespace", self->ns,     "-id",    self->id, "-address",
                               runtime->path, "-bundle",    self->bundle, "delete", NULL };
  g_autoptr (GError) error = NULL;
  g_auto (Ran) ran = { 0 };
  gantry_autofd int input = options_fd (NULL, &error);
  PbReader reader;
  PbField field;

  task_unlink_for_clients (self);
  if (input < 0 || !run (runtime, self->bundle, argv, input, &ran, &error))
    {
      gantry_host_log (runtime->host, GANTRY_LOG_WARNING, "cleaning up after container %s: %s", self->id,
                       error->message);
      return;
    }
  reader = pb_reader (ran.output->data, ran.output->len);
  while (pb_next (&reader, &field) > 0)
    if (field.number == 2 && field.wire == 0 && ret_status != NULL)
      *ret_status = (guint32)field.value;
    else if (field.number == 3 && field.wire == 2 && ret_exited != NULL)
      *ret_exited = pb_read_timestamp (&field);
}

static void
on_shut_down (GBytes *reply, const GError *error, gpointer user_data)
{
  link_unref (user_data);
}

/* Its answer means nothing: a shim with other containers stays, one without goes. */
void
task_shut_down (Task *self)
{
  PbBuffer body = { 0 };
  Link *link;

  g_mutex_lock (&self->runtime->lock);
  self->removed = TRUE;
  link = g_steal_pointer (&self->link);
  g_mutex_unlock (&self->runtime->lock);
  if (link == NULL)
    return;
  pb_put_string (&body, 1, self->id);
  /* The answer may be there before this returns. */
  if (!connection_send (link->connection, SHIM_TASK_SERVICE, "Shutdown", &body, NULL, on_shut_down,
                        link_ref (link), NULL))
    link_unref (link);
  link_unref (link);
}
