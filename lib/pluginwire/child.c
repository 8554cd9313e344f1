/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "child.h"

#include <gantry/messages.h>

#include <signal.h>

#include <sys/wait.h>

#define AGAIN_MS 1000
#define GRACE_MS 10000
#define LOOK_US  10000

struct _PeerChild
{
  const GantryHost *host;
  char **argv;
  GMutex lock;
  GPid pid;        /* under lock; 0: none */
  GSource *source; /* under lock: watches the process, or waits to start it */
};

static gboolean start (gpointer data);

/* Under lock. */
static void
set_source (PeerChild *self, GSource *source, GSourceFunc func)
{
  if (self->source != NULL)
    {
      g_source_destroy (self->source);
      g_source_unref (self->source);
    }
  self->source = source;
  g_source_set_callback (source, func, self, NULL);
  g_source_attach (source, self->host->get_main_context (self->host));
}

static void
on_ended (GPid pid, gint status, gpointer data)
{
  PeerChild *self = data;
  g_autoptr (GError) error = NULL;

  if (g_spawn_check_wait_status (status, &error))
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_PEER_ENDED, NULL, NULL,
                           "%s has ended; it is started again", self->argv[0]);
  else
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_PEER_ENDED, NULL, NULL,
                           "%s has ended: %s; it is started again", self->argv[0], error->message);
  g_mutex_lock (&self->lock);
  self->pid = 0;
  set_source (self, g_timeout_source_new (AGAIN_MS), start);
  g_mutex_unlock (&self->lock);
}

/* In the main context's thread, which lives as long as the daemon: the child may ask to end with it. */
static gboolean
start (gpointer data)
{
  PeerChild *self = data;
  g_autoptr (GError) error = NULL;
  GSpawnFlags flags = G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDIN_FROM_DEV_NULL;

  g_mutex_lock (&self->lock);
  if (g_spawn_async ("/", self->argv, NULL, flags, NULL, NULL, &self->pid, &error))
    set_source (self, g_child_watch_source_new (self->pid), G_SOURCE_FUNC (on_ended));
  else
    {
      gantry_host_log (self->host, GANTRY_LOG_ERROR, "%s", error->message);
      self->pid = 0;
      set_source (self, g_timeout_source_new (AGAIN_MS), start);
    }
  g_mutex_unlock (&self->lock);
  return G_SOURCE_REMOVE;
}

PeerChild *
peer_child_new (const GantryHost *host, const char *command, GError **error)
{
  g_autoptr (GError) local = NULL;
  PeerChild *self;
  char **argv;

  if (!g_shell_parse_argv (command, NULL, &argv, &local))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Exec=%s: %s", command, local->message);
      return NULL;
    }
  self = g_new0 (PeerChild, 1);
  self->host = host;
  self->argv = argv;
  g_mutex_init (&self->lock);
  g_mutex_lock (&self->lock);
  set_source (self, g_idle_source_new (), start);
  g_mutex_unlock (&self->lock);
  return self;
}

static void
end_process (GPid pid)
{
  gint64 until = g_get_monotonic_time () + GRACE_MS * 1000;

  kill (pid, SIGTERM);
  while (waitpid (pid, NULL, WNOHANG) == 0)
    {
      if (g_get_monotonic_time () > until)
        kill (pid, SIGKILL);
      g_usleep (LOOK_US);
    }
}

void
peer_child_free (PeerChild *self)
{
  GPid pid;

  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  g_source_destroy (self->source);
  g_source_unref (self->source);
  pid = self->pid;
  g_mutex_unlock (&self->lock);
  if (pid > 0)
    end_process (pid);
  g_mutex_clear (&self->lock);
  g_strfreev (self->argv);
  g_free (self);
}
