/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Job */
#include "api-dbus.h"

#include <string.h>

/* Somebody who waits for a job's end. */
typedef struct
{
  ApiDbus *self;
  guint64 id;
  GDBusMethodInvocation *invocation;
} JobWait;

GantryJob *
job_lookup (ApiDbus *self, const char *node, GError **error)
{
  g_autoptr (GPtrArray) jobs = NULL;
  GantryJob *job = NULL;
  guint64 id;

  if (g_ascii_string_to_unsigned (node, 10, 1, G_MAXUINT64, &id, NULL))
    return gantry_jobs_get (self->jobs, id, &job, NULL, error) ? job : NULL;
  jobs = gantry_jobs_list (self->jobs);
  /* The newest of a token that was used again. */
  for (guint i = jobs->len; i > 0; i--)
    {
      g_autoptr (GVariant) properties = gantry_job_get_properties (g_ptr_array_index (jobs, i - 1));
      g_autofree char *name = NULL;
      const char *token = NULL;
      guint32 uid = 0;

      g_variant_lookup (properties, "token", "&s", &token);
      g_variant_lookup (properties, "started-by-uid", "u", &uid);
      name = g_strdup_printf ("%u_%s", uid, token != NULL ? token : "");
      if (strcmp (name, node) == 0)
        return gantry_job_ref (g_ptr_array_index (jobs, i - 1));
    }
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                "job \"%s\": not found; a job is forgotten a minute after its end", node);
  return NULL;
}

gboolean
job_begin (Call *call, const char *operation, GVariantDict *options, GantryJob **ret_job, char **ret_path,
           GError **error)
{
  g_autofree char *token = NULL;

  g_variant_dict_lookup (options, "token", "s", &token);
  g_variant_dict_remove (options, "token");
  if (!gantry_jobs_create (call->self->jobs, operation, call->ns, token, call->uid, ret_job,
                           call->self->stopping, error))
    return FALSE;
  *ret_path = path_of_job (*ret_job);
  return TRUE;
}

static void
answer (GDBusMethodInvocation *invocation, GVariant *properties)
{
  g_autoptr (GVariant) result = g_variant_lookup_value (properties, "result", G_VARIANT_TYPE_VARDICT);
  const char *message = NULL;
  gint32 code;

  if (g_variant_lookup (properties, "error-code", "i", &code))
    {
      g_variant_lookup (properties, "error-message", "&s", &message);
      g_dbus_method_invocation_return_error (invocation, GANTRY_ERROR, code, "%s",
                                             message != NULL ? message : "it failed");
    }
  else
    g_dbus_method_invocation_return_value (invocation, result != NULL ? g_variant_new ("(@a{sv})", result)
                                                                      : g_variant_new ("(a{sv})", NULL));
}

/* Whether the job has ended; *@ret_properties is set then. */
static gboolean
has_finished (GantryJob *job, GVariant **ret_properties)
{
  g_autoptr (GVariant) properties = gantry_job_get_properties (job);
  gboolean finished = FALSE;

  g_variant_lookup (properties, "finished", "b", &finished);
  if (finished)
    *ret_properties = g_steal_pointer (&properties);
  return finished;
}

void
job_answer_waits (ApiDbus *self, GantryJob *job)
{
  g_autoptr (GVariant) properties = NULL;

  if (!has_finished (job, &properties))
    return;
  for (guint i = self->job_waits->len; i > 0; i--)
    {
      JobWait *wait = g_ptr_array_index (self->job_waits, i - 1);

      if (wait->id != gantry_job_get_id (job))
        continue;
      answer (wait->invocation, properties);
      g_ptr_array_remove_index_fast (self->job_waits, i - 1);
      g_free (wait);
    }
}

void
job_end_waits (ApiDbus *self)
{
  for (guint i = 0; i < self->job_waits->len; i++)
    {
      JobWait *wait = g_ptr_array_index (self->job_waits, i);

      g_dbus_method_invocation_return_error (wait->invocation, GANTRY_ERROR, GANTRY_ERROR_UNAVAILABLE,
                                             "the daemon stops");
      g_free (wait);
    }
  g_ptr_array_set_size (self->job_waits, 0);
}

/* In the main context, where the end of a job is told, too: none is missed. */
static gboolean
begin_wait (gpointer data)
{
  JobWait *wait = data;
  ApiDbus *self = wait->self;
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GError) error = NULL;

  if (!gantry_jobs_get (self->jobs, wait->id, &job, NULL, &error))
    {
      g_dbus_method_invocation_return_gerror (wait->invocation, error);
      g_free (wait);
      return G_SOURCE_REMOVE;
    }
  g_ptr_array_add (self->job_waits, wait);
  job_answer_waits (self, job);
  return G_SOURCE_REMOVE;
}

static gboolean
wait_for_end (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryJob) job = job_lookup (call->self, call->id, error);
  JobWait *wait;

  if (job == NULL)
    return FALSE;
  wait = g_new0 (JobWait, 1);
  *wait = (JobWait){ call->self, gantry_job_get_id (job), g_object_ref (call->invocation) };
  call->deferred = TRUE;
  g_main_context_invoke (call->self->host->get_main_context (call->self->host), begin_wait, wait);
  return TRUE;
}

static gboolean
cancel (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryJob) job = job_lookup (call->self, call->id, error);

  return job != NULL && gantry_jobs_cancel (call->self->jobs, gantry_job_get_id (job), NULL, error);
}

CallFunc
job_find (const char *method)
{
  static const Method methods[] = { { "Cancel", cancel }, { "Wait", wait_for_end } };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
