/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Credential helpers: "docker-credential-NAME get", the server on its standard input, JSON on its standard
 * output (docker-credential-helpers:
 * {"ServerURL", "Username", "Secret"}; the user "<token>" means that the secret is an identity token). Run
 * without a shell, with a deadline and a limit of output. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fdio.h>

#include "registry-oci.h"

#define MAX_OUTPUT (64 * 1024)

typedef struct
{
  GPid pid;
  int in, out;
  const char *name;
} Helper;

static gboolean
check_name (const char *name, GError **error)
{
  if (strlen (name) <= 64 && strspn (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == strlen (name)
      && name[0] != '.')
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%.64s\" is no name of a credential helper",
                       name);
}

static gboolean
spawn (Helper *helper, GError **error)
{
  g_autofree char *program = g_strconcat ("docker-credential-", helper->name, NULL);
  const char *argv[] = { program, "get", NULL };
  g_autoptr (GError) local = NULL;

  if (g_spawn_async_with_pipes (NULL, (char **)argv, NULL,
                                G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL,
                                NULL, NULL, &helper->pid, &helper->in, &helper->out, NULL, &local))
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s", local->message);
}

/* Waits until @fd can be read. Errors: DEADLINE_EXCEEDED, CANCELLED. */
static gboolean
wait_readable (int fd, gint64 deadline, GCancellable *cancellable, GError **error)
{
  gint64 left = (deadline - g_get_monotonic_time ()) / 1000;
  GPollFD fds[2] = { { fd, G_IO_IN, 0 } };
  gboolean pollable = cancellable != NULL && g_cancellable_make_pollfd (cancellable, &fds[1]);
  int n = left > 0 ? g_poll (fds, pollable ? 2 : 1, (int)left) : 0;

  if (pollable)
    g_cancellable_release_fd (cancellable);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  return n != 0 || gantry_throw (error, GANTRY_ERROR_DEADLINE_EXCEEDED, "it took too long");
}

static gboolean
talk (Helper *helper, const char *server, guint milliseconds, GString *output, GCancellable *cancellable,
      GError **error)
{
  gint64 deadline = g_get_monotonic_time () + (gint64)milliseconds * 1000;
  char chunk[4096];

  /* A server's name fits into any pipe; a helper that is gone already says so by its status. */
  if (write (helper->in, server, strlen (server)) < 0 && errno != EPIPE)
    return gantry_throw_errno (error, errno, "writing to it");
  close (helper->in);
  helper->in = -1;
  for (;;)
    {
      gssize n;

      if (!wait_readable (helper->out, deadline, cancellable, error))
        return FALSE;
      n = read (helper->out, chunk, sizeof chunk);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "reading from it");
      if (n == 0)
        return TRUE;
      g_string_append_len (output, chunk, n);
      if (output->len > MAX_OUTPUT)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it says more than %d bytes",
                             MAX_OUTPUT);
    }
}

/* Ends it. Returns: its status as of waitpid (). */
static int
end (Helper *helper, gboolean kill_it)
{
  int status = -1;

  if (helper->in >= 0)
    close (helper->in);
  close (helper->out);
  if (kill_it)
    kill (helper->pid, SIGKILL);
  while (waitpid (helper->pid, &status, 0) < 0 && errno == EINTR)
    ;
  g_spawn_close_pid (helper->pid);
  return status;
}

static gboolean
read_output (GString *output, const char *origin, GantryCredentials **ret_credentials, GError **error)
{
  g_autoptr (JsonNode) node = oci_parse (output->str, output->len, NULL);
  JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *user = object != NULL ? oci_string (object, "Username") : NULL;
  const char *secret = object != NULL ? oci_string (object, "Secret") : NULL;

  if (user == NULL || secret == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "its answer is no JSON object with Username and Secret");
  *ret_credentials = strcmp (user, "<token>") == 0
                         ? gantry_credentials_new (GANTRY_CREDENTIALS_IDENTITY_TOKEN, NULL, secret, origin)
                         : gantry_credentials_new (GANTRY_CREDENTIALS_PASSWORD, user, secret, origin);
  return TRUE;
}

/* What a helper writes that has nothing for the server. */
static gboolean
says_not_found (const char *text)
{
  return strstr (text, "credentials not found") != NULL || strstr (text, "no credentials server URL") != NULL;
}

gboolean
helper_get (RegistryOci *self, const char *name, const char *server, const char *file,
            GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  Helper helper = { .in = -1, .out = -1, .name = name };
  g_autoptr (GString) output = g_string_new (NULL);
  g_autofree char *origin = g_strdup_printf ("credential helper %s (%s)", name, file);
  gboolean talked, good = FALSE;
  int status;

  if (!check_name (name, error) || !spawn (&helper, error))
    {
      g_prefix_error (error, "%s: ", origin);
      return FALSE;
    }
  talked = talk (&helper, server, self->helper_ms, output, cancellable, error);
  status = end (&helper, !talked);
  if (talked && says_not_found (output->str))
    good = TRUE;
  else if (talked && !(WIFEXITED (status) && WEXITSTATUS (status) == 0))
    gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "it failed for %s", server);
  else if (talked)
    good = read_output (output, origin, ret_credentials, error);
  /* It may have been the secret. */
  explicit_bzero (output->str, output->len);
  if (!good)
    g_prefix_error (error, "%s: ", origin);
  return good;
}
