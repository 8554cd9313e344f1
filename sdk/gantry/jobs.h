/* SPDX-License-Identifier: MIT
 *
 * Jobs
 * ----
 * Every long task of the daemon is a *job*, whichever frontend began it: it can be listed, watched and
 * cancelled, and says how far it is. Whoever does the work updates the job; whoever shows it (D-Bus, gRPC
 * Transfer) watches the jobs service.
 *
 *     gantry_jobs_create (jobs, "import", "default", NULL, 0, cancellable, &job, …)
 *     gantry_job_update (job, { "phase": "unpacking", "bytes": 1234, "total-bytes": 9999, "item": … })
 *     gantry_job_finish (job, result, NULL)
 *
 * Properties (a{sv}; an update names only what changed):
 *     "id" t           as get_id ()
 *     "operation" s    "import", "export", "unpack", "pull", "push", "convert", …
 *     "namespace" s, "token" s, "started-by-uid" u, "started-at" x (ns), "cancelable" b
 *     "phase" s        one word: "waiting", "resolving", "downloading", "verifying", "importing",
 * "unpacking", "exporting", "done" "bytes" t, "total-bytes" t (0: unknown), "steps" u, "total-steps" u
 *     "objects" as     what it works on, as "image:docker.io/library/x:1", "blob:sha256:…"
 *     "items" a{sa{sv}} by item name; an update names only the items that changed; each has "state" s,
 * "bytes" t, "total-bytes" t "finished" b, "result" a{sv} (after success), "error-code" i and "error-message"
 * s (after failure) The service adds "rate" t (bytes a second) and "expected-end-time" x (ns, 0: unknown).
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_JOBS_TYPE "org.gantry.jobs.v1"

typedef struct _GantryJob GantryJob;

typedef struct
{
  size_t size;

  /** Takes a reference. Returns: @self. Blocks: no. Errors: none. Since: 1.0 */
  GantryJob *(*ref) (GantryJob *self);

  /** Drops a reference. A job that loses its last one unfinished fails with INTERNAL. Blocks: no. Errors:
   * none. Since: 1.0 */
  void (*unref) (GantryJob *self);

  /** Unique in this daemon's life, never 0. Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*get_id) (GantryJob *self);

  /** Everything that is known of it now. Returns: (transfer full): a{sv}. Blocks: no. Errors: none.
   * Since: 1.0 */
  GVariant *(*get_properties) (GantryJob *self);

  /** Fired by cancel () and by the creator's own cancellable; the work watches it. Returns: (transfer none).
   * Blocks: no. Errors: none. Since: 1.0 */
  GCancellable *(*get_cancellable) (GantryJob *self);

  /** Merges @changes (a{sv}, sunk). Watchers hear of it at most ten times a second. Blocks: no. Errors: none.
   * Since: 1.0 */
  void (*update) (GantryJob *self, GVariant *changes);

  /** Ends the job: with @result (a{sv}, sunk, nullable), or, if @failure is not NULL, as failed. Once.
   * Blocks: no. Errors: none. Since: 1.0 */
  void (*finish) (GantryJob *self, GVariant *result, const GError *failure);
} GantryJobVtable;

struct _GantryJob
{
  const GantryJobVtable *vtable;
};

typedef enum
{
  GANTRY_JOB_ADDED = 0,
  GANTRY_JOB_CHANGED = 1,
  GANTRY_JOB_FINISHED = 2, /**< the last one; the job stays listed for a while */
  GANTRY_JOB_REMOVED = 3,
} GantryJobSignal;

/** Something happened to @job; @changes: a{sv}: the properties that changed. In the daemon's main context. */
typedef void (*GantryJobFunc) (GantryJob *job, GantryJobSignal signal, GVariant *changes, gpointer user_data);

typedef struct _GantryJobs GantryJobs;

typedef struct
{
  size_t size;

  /** Makes a job. @token: (nullable): the caller's own name for it, unique among those of @uid that run;
   * [A-Za-z0-9_]{1,64}.
   * @cancellable: (nullable): cancelling it cancels the job. *@ret_job: (transfer full). Blocks: no.
   * Errors: ALREADY_EXISTS (@token), INVALID_ARGUMENT, RESOURCE_EXHAUSTED (too many jobs). Since: 1.0 */
  gboolean (*create) (GantryJobs *self, const char *operation, const char *ns, const char *token, guint32 uid,
                      GantryJob **ret_job, GCancellable *cancellable, GError **error);

  /** The job @id. *@ret_job: (transfer full). Blocks: no. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*get) (GantryJobs *self, guint64 id, GantryJob **ret_job, GCancellable *cancellable,
                   GError **error);

  /** All jobs, oldest first, those that ended within the last minute included. Returns: (transfer full)
   * (element-type GantryJob). Blocks: no. Errors: none. Since: 1.0 */
  GPtrArray *(*list) (GantryJobs *self);

  /** Asks the job @id to end; it fails with CANCELLED soon after. Blocks: no. Errors: NOT_FOUND,
   * FAILED_PRECONDITION (it cannot be cancelled, or has ended). Since: 1.0 */
  gboolean (*cancel) (GantryJobs *self, guint64 id, GCancellable *cancellable, GError **error);

  /** Calls @func in the main context for everything that happens to every job. Returns: an id for unwatch.
   * Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*watch) (GantryJobs *self, GantryJobFunc func, gpointer user_data);

  /** Ends a watch. Called in the main context, no @func follows. Blocks: no. Errors: none. Since: 1.0 */
  void (*unwatch) (GantryJobs *self, guint64 id);
} GantryJobsVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryJobs
{
  const GantryJobsVtable *vtable;
};

static inline GantryJob *
gantry_job_ref (GantryJob *self)
{
  return self->vtable->ref (self);
}

static inline void
gantry_job_unref (GantryJob *self)
{
  if (self != NULL)
    self->vtable->unref (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryJob, gantry_job_unref)

static inline guint64
gantry_job_get_id (GantryJob *self)
{
  return self->vtable->get_id (self);
}

static inline GVariant *
gantry_job_get_properties (GantryJob *self)
{
  return self->vtable->get_properties (self);
}

static inline GCancellable *
gantry_job_get_cancellable (GantryJob *self)
{
  return self->vtable->get_cancellable (self);
}

/** As the slot; @self may be NULL (nobody watches) and @changes is then dropped. */
static inline void
gantry_job_update (GantryJob *self, GVariant *changes)
{
  if (self != NULL)
    self->vtable->update (self, changes);
  else
    g_variant_unref (g_variant_ref_sink (changes));
}

static inline void
gantry_job_finish (GantryJob *self, GVariant *result, const GError *failure)
{
  self->vtable->finish (self, result, failure);
}

static inline gboolean
gantry_jobs_create (GantryJobs *self, const char *operation, const char *ns, const char *token, guint32 uid,
                    GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryJobsVtable, create, FALSE);
  return self->vtable->create (self, operation, ns, token, uid, ret_job, cancellable, error);
}

static inline gboolean
gantry_jobs_get (GantryJobs *self, guint64 id, GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryJobsVtable, get, FALSE);
  return self->vtable->get (self, id, ret_job, cancellable, error);
}

static inline GPtrArray *
gantry_jobs_list (GantryJobs *self)
{
  return self->vtable->list (self);
}

static inline gboolean
gantry_jobs_cancel (GantryJobs *self, guint64 id, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryJobsVtable, cancel, FALSE);
  return self->vtable->cancel (self, id, cancellable, error);
}

static inline guint64
gantry_jobs_watch (GantryJobs *self, GantryJobFunc func, gpointer user_data)
{
  return self->vtable->watch (self, func, user_data);
}

static inline void
gantry_jobs_unwatch (GantryJobs *self, guint64 id)
{
  self->vtable->unwatch (self, id);
}

G_END_DECLS
