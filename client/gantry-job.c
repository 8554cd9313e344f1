/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-job-private.h"
#include "gantry-object-private.h"

/**
 * GantryJob:
 *
 * Something long that the daemon does. Its progress arrives as #GantryJob::changed in the main context that
 * was the thread's default when it was made.
 */
struct _GantryJob
{
  GantryObject parent_instance;
  guint subscription;
  GMutex lock;
  GVariantDict *properties;
};

G_DEFINE_FINAL_TYPE (GantryJob, gantry_job, GANTRY_TYPE_OBJECT)

enum
{
  CHANGED,
  N_SIGNALS
};

static guint signals[N_SIGNALS];

static void
merge (GantryJob *self, GVariant *changes)
{
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_mutex_lock (&self->lock);
  g_variant_iter_init (&iter, changes);
  while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    g_variant_dict_insert_value (self->properties, name, value);
  g_mutex_unlock (&self->lock);
}

static void
on_properties_changed (GDBusConnection *connection, const char *sender, const char *path,
                       const char *interface, const char *signal, GVariant *parameters, gpointer user_data)
{
  g_autoptr (GantryJob) self = g_weak_ref_get (user_data);
  g_autoptr (GVariant) changes = NULL;

  if (self == NULL || !g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(sa{sv}as)")))
    return;
  g_variant_get_child (parameters, 1, "@a{sv}", &changes);
  merge (self, changes);
  g_signal_emit (self, signals[CHANGED], 0, changes);
}

static void
weak_free (gpointer data)
{
  g_weak_ref_clear (data);
  g_free (data);
}

static void
gantry_job_constructed (GObject *object)
{
  GantryJob *self = GANTRY_JOB (object);
  GWeakRef *weak = g_new0 (GWeakRef, 1);

  G_OBJECT_CLASS (gantry_job_parent_class)->constructed (object);
  g_weak_ref_init (weak, self);
  self->subscription
      = g_dbus_connection_signal_subscribe (gantry_object_get_connection (GANTRY_OBJECT (self)), NULL,
                                            "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                            gantry_object_get_path (GANTRY_OBJECT (self)), "org.gantry1.Job",
                                            G_DBUS_SIGNAL_FLAGS_NONE, on_properties_changed, weak, weak_free);
}

static void
gantry_job_dispose (GObject *object)
{
  GantryJob *self = GANTRY_JOB (object);

  if (self->subscription != 0)
    g_dbus_connection_signal_unsubscribe (gantry_object_get_connection (GANTRY_OBJECT (self)),
                                          self->subscription);
  self->subscription = 0;
  G_OBJECT_CLASS (gantry_job_parent_class)->dispose (object);
}

static void
gantry_job_finalize (GObject *object)
{
  GantryJob *self = GANTRY_JOB (object);

  g_variant_dict_unref (self->properties);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (gantry_job_parent_class)->finalize (object);
}

static void
gantry_job_class_init (GantryJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->constructed = gantry_job_constructed;
  object_class->dispose = gantry_job_dispose;
  object_class->finalize = gantry_job_finalize;
  /**
   * GantryJob::changed:
   * @self: the job
   * @changes: a{sv}: the properties of org.gantry1.Job that changed
   *
   * The job has come further, at most ten times a second.
   */
  signals[CHANGED] = g_signal_new ("changed", GANTRY_TYPE_JOB, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                   G_TYPE_NONE, 1, G_TYPE_VARIANT);
}

static void
gantry_job_init (GantryJob *self)
{
  g_mutex_init (&self->lock);
  self->properties = g_variant_dict_new (NULL);
}

GantryJob *
_gantry_job_new_take (GDBusConnection *connection, char *path)
{
  g_autofree char *held = path;

  return held != NULL ? g_object_new (GANTRY_TYPE_JOB, "connection", connection, "path", held, NULL) : NULL;
}

/**
 * gantry_job_get_phase:
 * @self: a job
 *
 * Returns: (transfer full) (nullable): one word for what it does now, as far as it has been told
 */
char *
gantry_job_get_phase (GantryJob *self)
{
  char *phase = NULL;

  g_mutex_lock (&self->lock);
  g_variant_dict_lookup (self->properties, "Phase", "s", &phase);
  g_mutex_unlock (&self->lock);
  return phase;
}

static guint64
get_number (GantryJob *self, const char *name, const char *format)
{
  guint64 large = 0;
  guint32 small = 0;

  g_mutex_lock (&self->lock);
  g_variant_dict_lookup (self->properties, name, format,
                         format[0] == 't' ? (gpointer)&large : (gpointer)&small);
  g_mutex_unlock (&self->lock);
  return format[0] == 't' ? large : small;
}

/**
 * gantry_job_get_bytes:
 * @self: a job
 *
 * Returns: bytes done
 */
guint64
gantry_job_get_bytes (GantryJob *self)
{
  return get_number (self, "Bytes", "t");
}

/**
 * gantry_job_get_total_bytes:
 * @self: a job
 *
 * Returns: bytes in all, or 0 if that is not known
 */
guint64
gantry_job_get_total_bytes (GantryJob *self)
{
  return get_number (self, "TotalBytes", "t");
}

/**
 * gantry_job_get_steps:
 * @self: a job
 *
 * Returns: steps done
 */
guint
gantry_job_get_steps (GantryJob *self)
{
  return (guint)get_number (self, "Steps", "u");
}

/**
 * gantry_job_get_total_steps:
 * @self: a job
 *
 * Returns: steps in all, or 0 if that is not known
 */
guint
gantry_job_get_total_steps (GantryJob *self)
{
  return (guint)get_number (self, "TotalSteps", "u");
}

/**
 * gantry_job_get_rate:
 * @self: a job
 *
 * Returns: bytes a second
 */
guint64
gantry_job_get_rate (GantryJob *self)
{
  return get_number (self, "Rate", "t");
}

/**
 * gantry_job_get_items:
 * @self: a job
 *
 * Returns: (transfer full) (nullable): a{sa{sv}}: what it works on, such as blobs by digest, as far as it has
 * been told: each with "state" s, "bytes" t and "total-bytes" t
 */
GVariant *
gantry_job_get_items (GantryJob *self)
{
  GVariant *items;

  g_mutex_lock (&self->lock);
  items = g_variant_dict_lookup_value (self->properties, "Items", G_VARIANT_TYPE ("a{sa{sv}}"));
  g_mutex_unlock (&self->lock);
  return items;
}

/**
 * gantry_job_get_info:
 * @self: a job
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks for all that is known of it.
 *
 * Returns: (transfer full): a{sv}: the properties of org.gantry1.Job
 */
GVariant *
gantry_job_get_info (GantryJob *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "org.freedesktop.DBus.Properties", "GetAll",
                                    g_variant_new ("(s)", "org.gantry1.Job"), NULL, cancellable, error);
}

/**
 * gantry_job_get_info_async:
 * @self: a job
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_job_get_info(), without blocking.
 */
void
gantry_job_get_info_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
  _gantry_object_call_async (self, "org.freedesktop.DBus.Properties", "GetAll",
                             g_variant_new ("(s)", "org.gantry1.Job"), NULL, gantry_job_get_info_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_job_get_info_finish:
 * @self: a job
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: the properties of org.gantry1.Job
 */
GVariant *
gantry_job_get_info_finish (GantryJob *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_job_get_info_async, result, error);
}

/**
 * gantry_job_wait:
 * @self: a job
 * @cancellable: (nullable): ends the wait, not the job
 * @error: why the job failed
 *
 * Waits for its end.
 *
 * Returns: (transfer full): its result, a{sv}
 */
GVariant *
gantry_job_wait (GantryJob *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Job", "Wait", NULL, NULL, cancellable, error);
}

/**
 * gantry_job_wait_async:
 * @self: a job
 * @cancellable: (nullable): ends the wait, not the job
 * @callback: called when it has ended
 * @user_data: for @callback
 *
 * As gantry_job_wait().
 */
void
gantry_job_wait_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                       gpointer user_data)
{
  _gantry_object_call_async (self, "Job", "Wait", NULL, NULL, gantry_job_wait_async, cancellable, callback,
                             user_data);
}

/**
 * gantry_job_wait_finish:
 * @self: a job
 * @result: the callback's
 * @error: why the job failed
 *
 * Returns: (transfer full): its result, a{sv}
 */
GVariant *
gantry_job_wait_finish (GantryJob *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_job_wait_async, result, error);
}

/**
 * gantry_job_cancel:
 * @self: a job
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks it to end.
 *
 * Returns: whether it was asked
 */
gboolean
gantry_job_cancel (GantryJob *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Job", "Cancel", NULL, NULL, cancellable, error);
}

/**
 * gantry_job_cancel_async:
 * @self: a job
 * @cancellable: (nullable): ends the call
 * @callback: called when it has been asked
 * @user_data: for @callback
 *
 * As gantry_job_cancel().
 */
void
gantry_job_cancel_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer user_data)
{
  _gantry_object_call_async (self, "Job", "Cancel", NULL, NULL, gantry_job_cancel_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_job_cancel_finish:
 * @self: a job
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was asked
 */
gboolean
gantry_job_cancel_finish (GantryJob *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_job_cancel_async, result, error);
}
