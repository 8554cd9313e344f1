/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks held against containers, and each runtime against itself. */
#include "tasks-local.h"

static void
append (GPtrArray *problems, char **more)
{
  for (gsize i = 0; more != NULL && more[i] != NULL; i++)
    g_ptr_array_add (problems, g_strdup (more[i]));
}

/* Ends a task that no container's record names. */
static gboolean
end_stray (GantryRuntime *runtime, GantryProcess *process, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  g_autoptr (GError) local = NULL;

  gantry_runtime_kill (runtime, process->ns, process->id, "", 9, TRUE, cancellable, NULL);
  /* Its end comes by the main context; this is a worker's thread, and rare. */
  while (!gantry_runtime_remove (runtime, process->ns, process->id, "", NULL, cancellable, &local))
    {
      if (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
        return TRUE;
      if (!gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION) || g_get_monotonic_time () > deadline)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      g_clear_error (&local);
      g_usleep (10000);
    }
  return TRUE;
}

static gboolean
check_runtime (TasksLocal *self, GantryBinding *binding, gboolean repair, GPtrArray *problems,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) processes = NULL;
  g_auto (GStrv) own = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_runtime_list (binding->instance, NULL, &processes, cancellable, error))
    return FALSE;
  for (guint i = 0; i < processes->len; i++)
    {
      GantryProcess *process = g_ptr_array_index (processes, i);
      g_autoptr (GantryRecord) record = NULL;
      g_autoptr (GError) why = NULL;
      const char *outcome = "";

      if (gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, process->ns, process->id, &record,
                               cancellable, NULL)
          || gantry_metadata_get (self->metadata, GANTRY_KIND_SANDBOX, process->ns, process->id, &record,
                                  cancellable, NULL))
        continue;
      if (repair)
        outcome = end_stray (binding->instance, process, cancellable, &why) ? " (ended)" : why->message;
      g_ptr_array_add (problems, g_strdup_printf ("task %s in namespace %s has no container%s", process->id,
                                                  process->ns, outcome));
    }
  if (gantry_runtime_check (binding->instance, repair, &own, cancellable, &local))
    append (problems, own);
  else if (!gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  return TRUE;
}

gboolean
tasks_check (GantryTasks *tasks, gboolean repair, char ***ret_problems, GCancellable *cancellable,
             GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);

  if (bindings == NULL)
    return FALSE;
  for (guint i = 0; i < bindings->len; i++)
    if (!check_runtime (self, g_ptr_array_index (bindings, i), repair, problems, cancellable, error))
      return FALSE;
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}
