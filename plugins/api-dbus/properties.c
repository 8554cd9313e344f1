/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Properties of every object, and all objects at once (ObjectManager). */
#include "api-dbus.h"

#include <string.h>

#define MAX_OBJECTS 50000

static void
add_string (GVariantBuilder *builder, const char *name, const char *value)
{
  g_variant_builder_add (builder, "{sv}", name, g_variant_new_string (value != NULL ? value : ""));
}

static void
add_int64 (GVariantBuilder *builder, const char *name, gint64 value)
{
  g_variant_builder_add (builder, "{sv}", name, g_variant_new_int64 (value));
}

static void
add_labels (GVariantBuilder *builder, GVariant *labels)
{
  g_variant_builder_add (builder, "{sv}", "Labels",
                         labels != NULL ? labels : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0));
}

GVariant *
properties_of_namespace (GantryRecord *record)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Name", record->id);
  add_labels (&builder, record->labels);
  add_int64 (&builder, "CreatedAt", record->created_ns);
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_image (GantryRecord *record)
{
  g_autoptr (GVariant) target = gantry_record_get_field (record, "target", G_VARIANT_TYPE ("(ssta{ss})"));
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Name", record->id);
  add_string (&builder, "Namespace", record->ns);
  if (target != NULL)
    g_variant_builder_add (&builder, "{sv}", "Target", target);
  add_labels (&builder, record->labels);
  add_int64 (&builder, "CreatedAt", record->created_ns);
  add_int64 (&builder, "UpdatedAt", record->updated_ns);
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_container (GantryRecord *record)
{
  static const struct
  {
    const char *name, *field;
  } strings[] = {
    { "Image", "image" },
    { "Runtime", "runtime" },
    { "Snapshotter", "snapshotter" },
    { "SnapshotKey", "snapshot-key" },
  };
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Id", record->id);
  add_string (&builder, "Namespace", record->ns);
  for (gsize i = 0; i < G_N_ELEMENTS (strings); i++)
    add_string (&builder, strings[i].name, gantry_record_get_string (record, strings[i].field));
  add_labels (&builder, record->labels);
  add_int64 (&builder, "CreatedAt", record->created_ns);
  add_int64 (&builder, "UpdatedAt", record->updated_ns);
  return g_variant_builder_end (&builder);
}

const char *
status_name (GantryTaskStatus status)
{
  static const char *const names[] = { "unknown", "created", "running", "stopped", "paused", "pausing" };

  return status < G_N_ELEMENTS (names) ? names[status] : names[0];
}

/* What a task and each of its other processes have. */
static void
add_process (GVariantBuilder *builder, GantryProcess *process)
{
  g_variant_builder_add (builder, "{sv}", "Pid", g_variant_new_uint32 (process->pid));
  add_string (builder, "Status", status_name (process->status));
  g_variant_builder_add (builder, "{sv}", "ExitStatus", g_variant_new_uint32 (process->exit_status));
  add_int64 (builder, "ExitedAt", process->exited_ns);
  g_variant_builder_add (builder, "{sv}", "Terminal",
                         g_variant_new_boolean (process->stdio != NULL && process->stdio->terminal));
}

GVariant *
properties_of_exit (GVariant *payload)
{
  GVariantBuilder builder;
  guint32 pid = 0, exit_status = 0;
  gint64 exited_ns = 0;

  g_variant_lookup (payload, "pid", "u", &pid);
  g_variant_lookup (payload, "exit-status", "u", &exit_status);
  g_variant_lookup (payload, "exited-at", "x", &exited_ns);
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&builder, "{sv}", "Pid", g_variant_new_uint32 (pid));
  add_string (&builder, "Status", status_name (GANTRY_TASK_STOPPED));
  g_variant_builder_add (&builder, "{sv}", "ExitStatus", g_variant_new_uint32 (exit_status));
  add_int64 (&builder, "ExitedAt", exited_ns);
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_task (ApiDbus *self, GantryProcess *process)
{
  g_autoptr (GPtrArray) execs = NULL;
  g_auto (GVariantBuilder) names = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE_STRING_ARRAY);
  GVariantBuilder builder;

  gantry_tasks_list_execs (self->tasks, process->ns, process->id, &execs, NULL, NULL);
  for (guint i = 0; execs != NULL && i < execs->len; i++)
    g_variant_builder_add (&names, "s", ((GantryProcess *)g_ptr_array_index (execs, i))->exec_id);
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_process (&builder, process);
  add_string (&builder, "Bundle", process->bundle);
  g_variant_builder_add (&builder, "{sv}", "Execs", g_variant_builder_end (&names));
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_process (GantryProcess *process, gboolean sandbox)
{
  g_autofree char *container
      = sandbox ? path_sandbox (process->ns, process->id) : path_container (process->ns, process->id);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Id", process->exec_id);
  g_variant_builder_add (&builder, "{sv}", "Container", g_variant_new_object_path (container));
  add_process (&builder, process);
  return g_variant_builder_end (&builder);
}

/* How far a job is, between 0 and 1, as udisks tells it. */
static void
add_progress (GVariantBuilder *builder, GVariant *whole)
{
  guint64 bytes = 0, total = 0;
  guint32 steps = 0, total_steps = 0;
  gboolean valid;

  g_variant_lookup (whole, "bytes", "t", &bytes);
  g_variant_lookup (whole, "total-bytes", "t", &total);
  g_variant_lookup (whole, "steps", "u", &steps);
  g_variant_lookup (whole, "total-steps", "u", &total_steps);
  valid = total > 0 || total_steps > 0;
  g_variant_builder_add (builder, "{sv}", "ProgressValid", g_variant_new_boolean (valid));
  g_variant_builder_add (builder, "{sv}", "Progress",
                         g_variant_new_double (total > 0         ? MIN (1.0, (double)bytes / (double)total)
                                               : total_steps > 0 ? MIN (1.0, (double)steps / total_steps)
                                                                 : 0));
}

/* What a job says under the SDK's names (jobs.h), under D-Bus's; all of them if @properties is @whole, empty
 * what there is nothing to say of yet. */
GVariant *
properties_of_job (GVariant *properties, GVariant *whole)
{
  static const struct
  {
    const char *key, *name, *empty;
  } known[] = {
    { "id", "Id", NULL },
    { "operation", "Operation", NULL },
    { "namespace", "Namespace", NULL },
    { "token", "Token", NULL },
    { "started-by-uid", "StartedByUID", NULL },
    { "started-at", "StartedAt", NULL },
    { "cancelable", "Cancelable", NULL },
    { "phase", "Phase", NULL },
    { "bytes", "Bytes", NULL },
    { "total-bytes", "TotalBytes", NULL },
    { "steps", "Steps", NULL },
    { "total-steps", "TotalSteps", NULL },
    { "rate", "Rate", NULL },
    { "expected-end-time", "ExpectedEndTime", NULL },
    { "finished", "Finished", NULL },
    { "result", "Result", "@a{sv} {}" },
    { "objects", "Objects", "@as []" },
    { "items", "Items", "@a{sa{sv}} {}" },
    { "error-message", "ErrorMessage", "''" },
  };
  GVariantBuilder builder;
  gint32 code;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  for (gsize i = 0; i < G_N_ELEMENTS (known); i++)
    {
      g_autoptr (GVariant) value = g_variant_lookup_value (properties, known[i].key, NULL);

      if (value != NULL)
        g_variant_builder_add (&builder, "{sv}", known[i].name, value);
      else if (properties == whole && known[i].empty != NULL)
        g_variant_builder_add (&builder, "{sv}", known[i].name, g_variant_new_parsed (known[i].empty));
    }
  if (g_variant_lookup (properties, "error-code", "i", &code))
    add_string (&builder, "ErrorName", gantry_error_code_to_name (code));
  else if (properties == whole)
    add_string (&builder, "ErrorName", "");
  add_progress (&builder, whole);
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_plugin (GVariant *plugin)
{
  static const struct
  {
    const char *key, *name;
  } strings[] = {
    { "name", "Name" },   { "module", "Module" }, { "id", "Id" },         { "version", "Version" },
    { "state", "State" }, { "reason", "Reason" }, { "status", "Status" },
  };
  g_autoptr (GVariant) types = g_variant_lookup_value (plugin, "types", G_VARIANT_TYPE_STRING_ARRAY);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  for (gsize i = 0; i < G_N_ELEMENTS (strings); i++)
    {
      const char *value = NULL;

      g_variant_lookup (plugin, strings[i].key, "&s", &value);
      add_string (&builder, strings[i].name, value);
    }
  if (types != NULL)
    g_variant_builder_add (&builder, "{sv}", "Types", types);
  return g_variant_builder_end (&builder);
}

GVariant *
properties_of_sandbox (GantryRecord *record)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Id", record->id);
  add_string (&builder, "Namespace", record->ns);
  add_string (&builder, "Runtime", gantry_record_get_string (record, "runtime"));
  add_string (&builder, "Sandboxer", gantry_record_get_string (record, "sandboxer"));
  add_labels (&builder, record->labels);
  add_int64 (&builder, "CreatedAt", record->created_ns);
  add_int64 (&builder, "UpdatedAt", record->updated_ns);
  return g_variant_builder_end (&builder);
}

static void
add_mounts (GVariantBuilder *builder, const char *name, GantryRecord *record, const char *field)
{
  g_autoptr (GVariant) mounts = gantry_record_get_field (record, field, G_VARIANT_TYPE ("aa{sv}"));

  g_variant_builder_add (builder, "{sv}", name,
                         mounts != NULL ? mounts : g_variant_new_array (G_VARIANT_TYPE_VARDICT, NULL, 0));
}

GVariant *
properties_of_mount (GantryRecord *record)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "Name", record->id);
  add_string (&builder, "Namespace", record->ns);
  add_mounts (&builder, "Active", record, "active");
  add_mounts (&builder, "System", record, "system");
  add_labels (&builder, record->labels);
  add_int64 (&builder, "CreatedAt", record->created_ns);
  add_int64 (&builder, "UpdatedAt", record->updated_ns);
  return g_variant_builder_end (&builder);
}

static GVariant *
properties_of_manager (ApiDbus *self)
{
  static const struct
  {
    const char *key, *name;
  } known[] = {
    { "version", "Version" }, { "uuid", "Uuid" },   { "pid", "Pid" },
    { "root", "Root" },       { "state", "State" }, { "started-at", "StartedAt" },
    { "abi", "Abi" },
  };
  g_autoptr (GVariant) server = gantry_introspection_get_server (self->introspection);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  for (gsize i = 0; i < G_N_ELEMENTS (known); i++)
    {
      g_autoptr (GVariant) value = g_variant_lookup_value (server, known[i].key, NULL);

      if (value != NULL)
        g_variant_builder_add (&builder, "{sv}", known[i].name, value);
    }
  return g_variant_builder_end (&builder);
}

static GVariant *
find_plugin_properties (Call *call, GError **error)
{
  g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (call->self->introspection);

  for (gsize i = 0; i < g_variant_n_children (plugins); i++)
    {
      g_autoptr (GVariant) plugin = g_variant_get_child_value (plugins, i);
      const char *name = NULL;

      if (g_variant_lookup (plugin, "name", "&s", &name) && strcmp (name, call->id) == 0)
        return properties_of_plugin (plugin);
    }
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "plugin \"%s\": not found", call->id);
  return NULL;
}

/* Whether the task of the call's id holds a sandbox: one that has the id of a container is that one's. */
static gboolean
is_of_sandbox (Call *call)
{
  g_autoptr (GantryRecord) record = NULL;
  GantryMetadata *metadata = call->self->metadata;

  return !gantry_metadata_get (metadata, GANTRY_KIND_CONTAINER, call->ns, call->id, &record, NULL, NULL)
         && gantry_metadata_get (metadata, GANTRY_KIND_SANDBOX, call->ns, call->id, &record, NULL, NULL);
}

/* The properties of one interface of the call's object. Returns: (transfer floating). */
static GVariant *
get_properties (Call *call, const char *interface, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  GantryMetadata *metadata = call->self->metadata;

  if (strcmp (interface, "org.gantry1.Manager") == 0)
    return properties_of_manager (call->self);
  if (strcmp (interface, "org.gantry1.Namespace") == 0)
    return gantry_metadata_get (metadata, GANTRY_KIND_NAMESPACE, "", call->ns, &record, NULL, error)
               ? properties_of_namespace (record)
               : NULL;
  if (strcmp (interface, "org.gantry1.Image") == 0)
    return gantry_metadata_get (metadata, GANTRY_KIND_IMAGE, call->ns, call->id, &record, NULL, error)
               ? properties_of_image (record)
               : NULL;
  if (strcmp (interface, "org.gantry1.Container") == 0)
    return gantry_metadata_get (metadata, GANTRY_KIND_CONTAINER, call->ns, call->id, &record, NULL, error)
               ? properties_of_container (record)
               : NULL;
  if (strcmp (interface, "org.gantry1.Sandbox") == 0)
    return gantry_metadata_get (metadata, GANTRY_KIND_SANDBOX, call->ns, call->id, &record, NULL, error)
               ? properties_of_sandbox (record)
               : NULL;
  if (strcmp (interface, "org.gantry1.Mount") == 0)
    return (record = mount_to_record (call, error)) != NULL ? properties_of_mount (record) : NULL;
  if (strcmp (interface, "org.gantry1.Task") == 0)
    {
      g_autoptr (GantryProcess) process = NULL;

      return gantry_tasks_get (call->self->tasks, call->ns, call->id, "", &process, NULL, error)
                 ? properties_of_task (call->self, process)
                 : NULL;
    }
  if (strcmp (interface, "org.gantry1.Process") == 0)
    {
      g_autoptr (GantryProcess) process = NULL;

      return gantry_tasks_get (call->self->tasks, call->ns, call->id, call->exec, &process, NULL, error)
                 ? properties_of_process (process, is_of_sandbox (call))
                 : NULL;
    }
  if (strcmp (interface, "org.gantry1.Job") == 0)
    {
      g_autoptr (GantryJob) job = job_lookup (call->self, call->id, error);
      g_autoptr (GVariant) properties = job != NULL ? gantry_job_get_properties (job) : NULL;

      return properties != NULL ? properties_of_job (properties, properties) : NULL;
    }
  return find_plugin_properties (call, error);
}

static gboolean
get_one (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) all = NULL, value = NULL;
  const char *interface, *name;

  g_variant_get (call->parameters, "(&s&s)", &interface, &name);
  all = get_properties (call, interface, error);
  if (all == NULL)
    return FALSE;
  g_variant_ref_sink (all);
  value = g_variant_lookup_value (all, name, NULL);
  if (value == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "the property %s.%s has no value now", interface,
                         name);
  *ret_reply = g_variant_new ("(v)", value);
  return TRUE;
}

static gboolean
get_all (Call *call, GVariant **ret_reply, GError **error)
{
  const char *interface;
  GVariant *all;

  g_variant_get (call->parameters, "(&s)", &interface);
  all = get_properties (call, interface, error);
  if (all == NULL)
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", all);
  return TRUE;
}

CallFunc
properties_find (const char *method)
{
  static const Method methods[] = { { "Get", get_one }, { "GetAll", get_all } };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}

typedef struct
{
  ApiDbus *self;
  GVariantBuilder *objects;
  guint n;
} Objects;

/* @properties is sunk. Returns: whether there is room for more. */
static gboolean
add_object (Objects *objects, const char *path, const char *interface, GVariant *properties)
{
  GVariantBuilder interfaces;

  g_variant_builder_init (&interfaces, G_VARIANT_TYPE ("a{sa{sv}}"));
  g_variant_builder_add (&interfaces, "{s@a{sv}}", interface, properties);
  g_variant_builder_add (objects->objects, "{oa{sa{sv}}}", path, &interfaces);
  return ++objects->n < MAX_OBJECTS;
}

static gboolean
add_namespace (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_namespace (record->id);

  return add_object (user_data, path, "org.gantry1.Namespace", properties_of_namespace (record));
}

static gboolean
add_image (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_image (record->ns, record->id);

  return add_object (user_data, path, "org.gantry1.Image", properties_of_image (record));
}

static gboolean
add_mount (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_mount (record->ns, record->id);

  return add_object (user_data, path, "org.gantry1.Mount", properties_of_mount (record));
}

static void
add_processes (Objects *objects, const char *ns, const char *id, gboolean sandbox)
{
  g_autoptr (GPtrArray) execs = NULL;

  /* A task that has just gone has none. */
  gantry_tasks_list_execs (objects->self->tasks, ns, id, &execs, NULL, NULL);
  for (guint i = 0; execs != NULL && i < execs->len; i++)
    {
      GantryProcess *process = g_ptr_array_index (execs, i);
      g_autofree char *path = path_process (ns, id, process->exec_id);

      add_object (objects, path, "org.gantry1.Process", properties_of_process (process, sandbox));
    }
}

/* An object that has a task, or may have one. @properties is sunk. */
static gboolean
add_with_task (Objects *objects, GantryRecord *record, const char *path, const char *interface,
               GVariant *properties)
{
  g_autoptr (GantryProcess) process = NULL;
  GVariantBuilder interfaces;

  g_variant_builder_init (&interfaces, G_VARIANT_TYPE ("a{sa{sv}}"));
  g_variant_builder_add (&interfaces, "{s@a{sv}}", interface, properties);
  if (gantry_tasks_get (objects->self->tasks, record->ns, record->id, "", &process, NULL, NULL))
    {
      g_variant_builder_add (&interfaces, "{s@a{sv}}", "org.gantry1.Task",
                             properties_of_task (objects->self, process));
      add_processes (objects, record->ns, record->id, strcmp (record->kind, GANTRY_KIND_SANDBOX) == 0);
    }
  g_variant_builder_add (objects->objects, "{oa{sa{sv}}}", path, &interfaces);
  return ++objects->n < MAX_OBJECTS;
}

static gboolean
add_container (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_container (record->ns, record->id);

  return add_with_task (user_data, record, path, "org.gantry1.Container", properties_of_container (record));
}

static gboolean
add_sandbox (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_sandbox (record->ns, record->id);

  return add_with_task (user_data, record, path, "org.gantry1.Sandbox", properties_of_sandbox (record));
}

static void
add_jobs (Objects *objects)
{
  g_autoptr (GPtrArray) jobs = gantry_jobs_list (objects->self->jobs);

  for (guint i = 0; i < jobs->len; i++)
    {
      g_autofree char *path = path_of_job (g_ptr_array_index (jobs, i));
      g_autoptr (GVariant) properties = gantry_job_get_properties (g_ptr_array_index (jobs, i));

      add_object (objects, path, "org.gantry1.Job", properties_of_job (properties, properties));
    }
}

static void
add_plugins (Objects *objects)
{
  g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (objects->self->introspection);

  for (gsize i = 0; i < g_variant_n_children (plugins); i++)
    {
      g_autoptr (GVariant) plugin = g_variant_get_child_value (plugins, i);
      g_autofree char *path = NULL;
      const char *name = "";

      g_variant_lookup (plugin, "name", "&s", &name);
      path = path_plugin (name);
      add_object (objects, path, "org.gantry1.Plugin", properties_of_plugin (plugin));
    }
}

gboolean
get_managed_objects (Call *call, GVariant **ret_reply, GError **error)
{
  static const struct
  {
    const char *kind, *ns;
    GantryRecordFunc func;
  } kinds[] = {
    { GANTRY_KIND_NAMESPACE, "", add_namespace },
    { GANTRY_KIND_IMAGE, NULL, add_image },
    { GANTRY_KIND_CONTAINER, NULL, add_container },
    { GANTRY_KIND_SANDBOX, NULL, add_sandbox },
  };
  g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{oa{sa{sv}}}"));
  Objects objects = { .self = call->self, .objects = &builder };

  add_plugins (&objects);
  add_jobs (&objects);
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (!gantry_metadata_list (call->self->metadata, kinds[i].kind, kinds[i].ns, NULL, NULL, 0, kinds[i].func,
                               &objects, NULL, error))
      return FALSE;
  if (!mounts_walk (call->self, add_mount, &objects, error))
    return FALSE;
  if (objects.n >= MAX_OBJECTS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "there are more than %d objects; use ListNamespaces, and ListImages, ListContainers "
                         "and ListMounts of "
                         "each, with filters",
                         MAX_OBJECTS);
  *ret_reply = g_variant_new ("(a{oa{sa{sv}}})", &builder);
  return TRUE;
}
