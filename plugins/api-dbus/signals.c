/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens, told: every event as Manager.Event, and what it means for objects as ObjectManager and
 * Properties signals. Signals are made from the event alone: the main context reads no database. */
#include "api-dbus.h"

#include <string.h>

/* Whether there is anybody: signals are not made for nobody. */
static gboolean
is_heard (ApiDbus *self)
{
  for (guint i = 0; i < self->connections->len; i++)
    if (connection_wants_signals (g_ptr_array_index (self->connections, i)))
      return TRUE;
  return self->bus != NULL;
}

static void
emit (ApiDbus *self, const char *path, const char *interface, const char *name, GVariant *body)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (body);

  for (guint i = 0; i < self->connections->len; i++)
    if (connection_wants_signals (g_ptr_array_index (self->connections, i)))
      g_dbus_connection_emit_signal (g_ptr_array_index (self->connections, i), NULL, path, interface, name,
                                     held, NULL);
  if (self->bus != NULL)
    g_dbus_connection_emit_signal (self->bus, NULL, path, interface, name, held, NULL);
}

static void
emit_added (ApiDbus *self, const char *path, const char *interface, GVariant *properties)
{
  GVariantBuilder interfaces;

  g_variant_builder_init (&interfaces, G_VARIANT_TYPE ("a{sa{sv}}"));
  g_variant_builder_add (&interfaces, "{s@a{sv}}", interface, properties);
  emit (self, ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded",
        g_variant_new ("(oa{sa{sv}})", path, &interfaces));
}

static void
emit_removed (ApiDbus *self, const char *path, const char *interface)
{
  const char *const interfaces[] = { interface, NULL };

  emit (self, ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved",
        g_variant_new ("(o^as)", path, interfaces));
}

/* @properties is sunk. */
static void
emit_changed (ApiDbus *self, const char *path, const char *interface, GVariant *properties,
              const char *const *invalidated)
{
  emit (self, path, "org.freedesktop.DBus.Properties", "PropertiesChanged",
        g_variant_new ("(s@a{sv}^as)", interface, properties, invalidated));
}

static const char *
lookup (GVariant *payload, const char *key)
{
  const char *value = "";

  g_variant_lookup (payload, key, "&s", &value);
  return value;
}

/* The record as the event tells of it. */
static GantryRecord *
record_from (GantryEvent *event, const char *kind, const char *ns, const char *id)
{
  g_autoptr (GVariant) labels = g_variant_lookup_value (event->payload, "labels", G_VARIANT_TYPE ("a{ss}"));
  GantryRecord *record = gantry_record_new (kind, ns, id, labels, event->payload);

  record->created_ns = record->updated_ns = event->time_ns;
  return record;
}

typedef struct
{
  const char *kind;
  const char *interface;
  const char *key; /* of the payload: the object's name */
  char *(*get_path) (const char *ns, const char *id);
  GVariant *(*get_properties) (GantryRecord *record);
  const char *invalidated[8]; /* what may be another after an update and is not in the event */
} RecordKind;

static char *
namespace_path (const char *ns, const char *id)
{
  return path_namespace (id);
}

static const RecordKind record_kinds[] = {
  { "namespaces", "org.gantry1.Namespace", "name", namespace_path, properties_of_namespace, { NULL } },
  { "images", "org.gantry1.Image", "name", path_image, properties_of_image, { "Target", "UpdatedAt", NULL } },
  { "containers",
    "org.gantry1.Container",
    "id",
    path_container,
    properties_of_container,
    { "Image", "Runtime", "Snapshotter", "SnapshotKey", "UpdatedAt", NULL } },
  { "sandbox-records",
    "org.gantry1.Sandbox",
    "id",
    path_sandbox,
    properties_of_sandbox,
    { "Runtime", "Sandboxer", "UpdatedAt", NULL } },
  { "mounts", "org.gantry1.Mount", "name", path_mount, properties_of_mount, { "UpdatedAt", NULL } },
};

static void
tell_record (ApiDbus *self, GantryEvent *event, const RecordKind *kind, const char *what)
{
  const char *id = lookup (event->payload, kind->key);
  g_autofree char *path = id[0] != '\0' ? kind->get_path (event->ns, id) : NULL;
  g_autoptr (GantryRecord) record = NULL;

  if (path == NULL)
    return;
  if (strcmp (what, "delete") == 0)
    {
      emit_removed (self, path, kind->interface);
      return;
    }
  record = record_from (event, kind->kind, event->ns, id);
  if (strcmp (what, "create") == 0)
    emit_added (self, path, kind->interface, kind->get_properties (record));
  else
    {
      GVariantDict labels;

      g_variant_dict_init (&labels, NULL);
      if (record->labels != NULL)
        g_variant_dict_insert_value (&labels, "Labels", record->labels);
      emit_changed (self, path, kind->interface, g_variant_dict_end (&labels), kind->invalidated);
    }
}

/* @what: "exec-added", "exec-started", "exit" or "delete". */
static void
tell_process (ApiDbus *self, GantryEvent *event, const char *id, const char *exec, gboolean sandbox,
              const char *what)
{
  static const char *const nothing[] = { NULL };
  const char *ns = event->ns;
  g_autofree char *path = path_process (ns, id, exec);
  g_autoptr (GantryProcess) process = NULL;

  if (strcmp (what, "delete") == 0)
    emit_removed (self, path, "org.gantry1.Process");
  else if (strcmp (what, "exit") == 0)
    emit_changed (self, path, "org.gantry1.Process", properties_of_exit (event->payload), nothing);
  else if (!gantry_tasks_get (self->tasks, ns, id, exec, &process, NULL, NULL))
    return;
  else if (strcmp (what, "exec-added") == 0)
    emit_added (self, path, "org.gantry1.Process", properties_of_process (process, sandbox));
  else
    emit_changed (self, path, "org.gantry1.Process", properties_of_process (process, sandbox), nothing);
}

static void
tell_task (ApiDbus *self, GantryEvent *event, const char *what)
{
  static const char *const execs[] = { "Execs", NULL }, *const nothing[] = { NULL };
  const char *id = lookup (event->payload, "container-id"), *exec = lookup (event->payload, "exec-id");
  g_autofree char *path = NULL;
  g_autoptr (GantryProcess) process = NULL;
  gboolean sandbox = FALSE;

  g_variant_lookup (event->payload, "sandbox", "b", &sandbox);
  path = sandbox ? path_sandbox (event->ns, id) : path_container (event->ns, id);
  if (exec[0] != '\0')
    {
      GVariantDict none;

      g_variant_dict_init (&none, NULL);
      emit_changed (self, path, "org.gantry1.Task", g_variant_dict_end (&none), execs);
      tell_process (self, event, id, exec, sandbox, what);
    }
  else if (strcmp (what, "delete") == 0)
    emit_removed (self, path, "org.gantry1.Task");
  /* By the event itself: it may be gone already, as those that go when they have ended are. */
  else if (strcmp (what, "exit") == 0)
    emit_changed (self, path, "org.gantry1.Task", properties_of_exit (event->payload), nothing);
  /* A task that has gone in the meantime is told of by its delete, which follows. */
  else if (!gantry_tasks_get (self->tasks, event->ns, id, "", &process, NULL, NULL))
    return;
  else if (strcmp (what, "create") == 0)
    emit_added (self, path, "org.gantry1.Task", properties_of_task (self, process));
  else
    emit_changed (self, path, "org.gantry1.Task", properties_of_task (self, process), nothing);
}

static void
on_event (GantryEvent *event, guint64 lost, gpointer user_data)
{
  ApiDbus *self = user_data;
  const char *what = strrchr (event->topic, '/');

  if (!is_heard (self))
    return;
  emit (self, ROOT, "org.gantry1.Manager", "Event",
        g_variant_new ("(ttxss@a{sv})", event->seq, lost, event->time_ns, event->ns, event->topic,
                       event->payload));
  if (what == NULL || event->topic[0] != '/' || what == event->topic)
    return;
  if (g_str_has_prefix (event->topic, "/tasks/"))
    tell_task (self, event, what + 1);
  for (gsize i = 0; i < G_N_ELEMENTS (record_kinds); i++)
    {
      gsize length = strlen (record_kinds[i].kind);

      if (strncmp (event->topic + 1, record_kinds[i].kind, length) == 0 && event->topic + 1 + length == what)
        tell_record (self, event, &record_kinds[i], what + 1);
    }
}

static void
on_job (GantryJob *job, GantryJobSignal signal, GVariant *changes, gpointer user_data)
{
  static const char *const nothing[] = { NULL };
  ApiDbus *self = user_data;
  g_autofree char *path = path_of_job (job);

  if (signal == GANTRY_JOB_REMOVED)
    emit_removed (self, path, "org.gantry1.Job");
  else if (signal == GANTRY_JOB_ADDED)
    {
      g_autoptr (GVariant) properties = gantry_job_get_properties (job);

      emit_added (self, path, "org.gantry1.Job", properties_of_job (properties, properties));
    }
  else
    {
      g_autoptr (GVariant) properties = gantry_job_get_properties (job);

      emit_changed (self, path, "org.gantry1.Job", properties_of_job (changes, properties), nothing);
    }
  if (signal == GANTRY_JOB_FINISHED)
    job_answer_waits (self, job);
}

gboolean
signals_start (ApiDbus *self, GError **error)
{
  if (!gantry_events_subscribe (self->events, NULL, GANTRY_EVENTS_NOW, NULL, on_event, self, NULL,
                                &self->subscription, NULL, error))
    return FALSE;
  self->job_watch = gantry_jobs_watch (self->jobs, on_job, self);
  return TRUE;
}

void
signals_stop (ApiDbus *self)
{
  if (self->subscription != 0)
    gantry_events_unsubscribe (self->events, self->subscription);
  if (self->job_watch != 0)
    gantry_jobs_unwatch (self->jobs, self->job_watch);
  self->subscription = self->job_watch = 0;
}
