/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Events of tasks, from what runtimes tell (events.h has the keys). */
#include "tasks-local.h"

#include <string.h>

void
announce_expect (TasksLocal *self, GantryTaskCreate *create)
{
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->creating, gantry_task_create_ref (create));
  g_mutex_unlock (&self->lock);
}

void
announce_forget (TasksLocal *self, GantryTaskCreate *create)
{
  g_mutex_lock (&self->lock);
  g_ptr_array_remove_fast (self->creating, create);
  g_mutex_unlock (&self->lock);
}

/* Returns: (transfer full) (nullable). */
static GantryTaskCreate *
take_create (TasksLocal *self, GantryProcess *process)
{
  GantryTaskCreate *found = NULL;

  g_mutex_lock (&self->lock);
  for (guint i = 0; found == NULL && i < self->creating->len; i++)
    {
      GantryTaskCreate *create = g_ptr_array_index (self->creating, i);

      if (strcmp (create->ns, process->ns) == 0 && strcmp (create->id, process->id) == 0)
        found = g_ptr_array_steal_index_fast (self->creating, i);
    }
  g_mutex_unlock (&self->lock);
  return found;
}

static void
insert_text (GVariantDict *payload, const char *key, const char *text)
{
  if (text != NULL)
    g_variant_dict_insert (payload, key, "s", text);
}

static void
describe_creation (TasksLocal *self, GantryProcess *process, GVariantDict *payload)
{
  g_autoptr (GantryTaskCreate) create = take_create (self, process);

  insert_text (payload, "bundle", process->bundle);
  if (process->stdio != NULL)
    {
      insert_text (payload, "stdin", process->stdio->stdin_uri);
      insert_text (payload, "stdout", process->stdio->stdout_uri);
      insert_text (payload, "stderr", process->stdio->stderr_uri);
      g_variant_dict_insert (payload, "terminal", "b", process->stdio->terminal);
    }
  if (create == NULL)
    return;
  insert_text (payload, "checkpoint", create->checkpoint);
  g_variant_dict_insert_value (payload, "rootfs", gantry_mount_list_to_variant (create->mounts));
}

/* What the journal keeps of a container's life. */
static void
log_event (TasksLocal *self, GantryTaskEvent event, GantryProcess *process)
{
  GVariantDict fields;
  g_autofree char *status = NULL;
  g_autofree char *message = NULL;

  if (event == GANTRY_TASK_EVENT_OOM)
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_TASK_OOM, process->ns, process->id,
                           "container %s in namespace %s ran out of memory", process->id, process->ns);
  if (event != GANTRY_TASK_EVENT_EXIT || process->exec_id[0] != '\0')
    return;
  status = g_strdup_printf ("%u", process->exit_status);
  message = g_strdup_printf ("container %s in namespace %s has ended with status %s", process->id,
                             process->ns, status);
  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "GANTRY_NAMESPACE", "s", process->ns);
  g_variant_dict_insert (&fields, "GANTRY_ID", "s", process->id);
  g_variant_dict_insert (&fields, "GANTRY_EXIT_STATUS", "s", status);
  self->host->log (self->host, GANTRY_LOG_INFO, GANTRY_MESSAGE_TASK_EXITED, g_variant_dict_end (&fields),
                   message);
}

static void
publish (TasksLocal *self, const char *topic, GantryProcess *process, GVariant *payload)
{
  g_autoptr (GError) error = NULL;

  if (!gantry_events_publish (self->events, process->ns, topic, payload, NULL, &error))
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_EVENT_LOST, process->ns,
                           process->id, "event %s of %s is lost: %s", topic, process->id, error->message);
}

/* What it means for the sandbox that the process holds. */
static void
announce_sandbox (TasksLocal *self, GantryTaskEvent event, GantryProcess *process)
{
  GVariantDict payload;
  const char *topic = event == GANTRY_TASK_EVENT_CREATE  ? "/sandboxes/create"
                      : event == GANTRY_TASK_EVENT_START ? "/sandboxes/start"
                      : event == GANTRY_TASK_EVENT_EXIT  ? "/sandboxes/exit"
                                                         : NULL;

  if (topic == NULL || process->exec_id[0] != '\0')
    return;
  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert (&payload, "id", "s", process->id);
  if (event == GANTRY_TASK_EVENT_EXIT)
    {
      g_variant_dict_insert (&payload, "exit-status", "u", process->exit_status);
      g_variant_dict_insert (&payload, "exited-at", "x", process->exited_ns);
    }
  publish (self, topic, process, g_variant_dict_end (&payload));
}

void
announce_event (TasksLocal *self, GantryTaskEvent event, GantryProcess *process)
{
  static const char *const topics[] = { "/tasks/create",       "/tasks/start",   "/tasks/exec-added",
                                        "/tasks/exec-started", "/tasks/exit",    "/tasks/oom",
                                        "/tasks/paused",       "/tasks/resumed", "/tasks/delete",
                                        "/tasks/checkpointed" };
  gboolean sandbox = sandbox_is_held_by (self, process->ns, process->id);
  GVariantDict payload;

  log_event (self, event, process);
  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert (&payload, "container-id", "s", process->id);
  g_variant_dict_insert (&payload, "exec-id", "s", process->exec_id);
  g_variant_dict_insert (&payload, "pid", "u", process->pid);
  if (sandbox)
    g_variant_dict_insert (&payload, "sandbox", "b", TRUE);
  if (event == GANTRY_TASK_EVENT_CREATE)
    describe_creation (self, process, &payload);
  if (event == GANTRY_TASK_EVENT_EXIT || event == GANTRY_TASK_EVENT_DELETE)
    {
      g_variant_dict_insert (&payload, "exit-status", "u", process->exit_status);
      g_variant_dict_insert (&payload, "exited-at", "x", process->exited_ns);
    }
  publish (self, topics[event], process, g_variant_dict_end (&payload));
  if (sandbox)
    announce_sandbox (self, event, process);
}

typedef struct
{
  gint refs; /* (atomic) */
  GMutex lock;
  GCond cond;
  gboolean passed;
} Barrier;

static void
barrier_unref (gpointer data)
{
  Barrier *barrier = data;

  if (!g_atomic_int_dec_and_test (&barrier->refs))
    return;
  g_mutex_clear (&barrier->lock);
  g_cond_clear (&barrier->cond);
  g_free (barrier);
}

static gboolean
on_barrier (gpointer data)
{
  Barrier *barrier = data;

  g_mutex_lock (&barrier->lock);
  barrier->passed = TRUE;
  g_cond_signal (&barrier->cond);
  g_mutex_unlock (&barrier->lock);
  return G_SOURCE_REMOVE;
}

/* Bounded: a main context that ends does not come to it any more. */
void
announce_settle (TasksLocal *self)
{
  gint64 deadline = g_get_monotonic_time () + G_USEC_PER_SEC;
  Barrier *barrier = g_new0 (Barrier, 1);

  barrier->refs = 2;
  g_mutex_init (&barrier->lock);
  g_cond_init (&barrier->cond);
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_HIGH, on_barrier, barrier,
                              barrier_unref);
  g_mutex_lock (&barrier->lock);
  while (!barrier->passed && g_cond_wait_until (&barrier->cond, &barrier->lock, deadline))
    ;
  g_mutex_unlock (&barrier->lock);
  barrier_unref (barrier);
}
