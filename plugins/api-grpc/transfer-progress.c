/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a job tells, as containerd's progress events. */
#include "transfer.h"

#include <string.h>

struct _Progress
{
  gint refs; /* (atomic): of the call, and of the watch in the main context */
  ApiGrpc *api;
  GantryJob *job;
  guint64 job_id;
  Stream *stream; /* (nullable) */
  guint64 watch;
};

static void
progress_unref (gpointer data)
{
  Progress *self = data;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  gantry_job_unref (self->job);
  stream_unref (self->stream);
  g_free (self);
}

/* A client that does not take them in time misses some: each tells the whole of its item. */
static void
tell (Progress *self, const char *event, const char *name, guint64 bytes, guint64 total)
{
  TYPES (Progress) message = CONTAINERD__TYPES__TRANSFER__PROGRESS__INIT;
  Containerd__Types__Descriptor descriptor = CONTAINERD__TYPES__DESCRIPTOR__INIT;

  message.event = (char *)event;
  message.name = TEXT (name);
  message.progress = (gint64)bytes;
  message.total = (gint64)total;
  if (name != NULL && g_str_has_prefix (name, "sha"))
    {
      descriptor.digest = (char *)name;
      descriptor.size = (gint64)total;
      message.desc = &descriptor;
    }
  stream_send (self->stream, &message.base, NULL);
}

static const char *
event_of_state (const char *state)
{
  static const char *const names[][2] = { { "done", "complete" },
                                          { "exists", "already exists" },
                                          { "unpacking", "extracting" },
                                          { "mounted", "complete" } };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (strcmp (names[i][0], state) == 0)
      return names[i][1];
  return state;
}

/* Main context. */
static void
on_job (GantryJob *job, GantryJobSignal signal, GVariant *changes, gpointer user_data)
{
  Progress *self = user_data;
  g_autoptr (GVariant) items = NULL;
  GVariantIter iter;
  const char *name;
  GVariant *item;

  if (gantry_job_get_id (job) != self->job_id || signal != GANTRY_JOB_CHANGED)
    return;
  items = g_variant_lookup_value (changes, "items", G_VARIANT_TYPE ("a{sa{sv}}"));
  if (items == NULL)
    return;
  g_variant_iter_init (&iter, items);
  while (g_variant_iter_next (&iter, "{&s@a{sv}}", &name, &item))
    {
      const char *state = "waiting";
      guint64 bytes = 0, total = 0;

      g_variant_lookup (item, "state", "&s", &state);
      g_variant_lookup (item, "bytes", "t", &bytes);
      g_variant_lookup (item, "total-bytes", "t", &total);
      tell (self, event_of_state (state), name, bytes, total);
      g_variant_unref (item);
    }
}

Progress *
progress_new (Call *call, const char *operation,
              const Containerd__Services__Transfer__V1__TransferOptions *options, GError **error)
{
  g_autoptr (Stream) stream = NULL;
  GantryJob *job;
  Progress *self;
  pid_t pid;
  uid_t uid = 0;
  gid_t gid;

  if (options != NULL && options->progress_stream[0] != '\0'
      && (stream = streams_find (call->api, call->ns, options->progress_stream, error)) == NULL)
    return NULL;
  grpc_call_get_peer (call->grpc, &pid, &uid, &gid);
  if (!gantry_jobs_create (call->api->jobs, operation, call->ns, NULL, uid, &job, call->cancellable, error))
    return NULL;
  self = g_new0 (Progress, 1);
  self->refs = 1;
  self->api = call->api;
  self->job = job;
  self->job_id = gantry_job_get_id (job);
  self->stream = g_steal_pointer (&stream);
  if (self->stream != NULL)
    {
      self->refs = 2;
      self->watch = gantry_jobs_watch (call->api->jobs, on_job, self);
    }
  return self;
}

GantryJob *
progress_job (Progress *self)
{
  return self->job;
}

void
progress_tell (Progress *self, const char *event, const char *name)
{
  if (self->stream != NULL)
    tell (self, event, name, 0, 0);
}

static gboolean
end_watch (gpointer data)
{
  Progress *self = data;

  gantry_jobs_unwatch (self->api->jobs, self->watch);
  stream_end (self->stream, NULL);
  return G_SOURCE_REMOVE;
}

void
progress_end (Progress *self, const GError *failure)
{
  gantry_job_finish (self->job, NULL, failure);
  if (self->stream != NULL)
    g_main_context_invoke_full (self->api->host->get_main_context (self->api->host), G_PRIORITY_DEFAULT,
                                end_watch, self, progress_unref);
  progress_unref (self);
}
