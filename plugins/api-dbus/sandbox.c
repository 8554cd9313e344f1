/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Sandbox, and the sandboxes of a namespace. */
#include "api-dbus.h"

#include <oci.h>
#include <string.h>

/* containerd's name for the OCI's spec, and for the one kind of sandbox that there is. */
#define SPEC_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Spec"
#define SANDBOXER "shim"

/* The fields that a record may be given, and their types. */
static const struct
{
  const char *name, *type;
} known_fields[] = {
  { "runtime", "s" },   { "runtime-options", GANTRY_ANY_TYPE },      { "spec", GANTRY_ANY_TYPE },
  { "sandboxer", "s" }, { "extensions", "a{s" GANTRY_ANY_TYPE "}" },
};

/* A spec is given as JSON, or as it is stored. Returns: (transfer floating) (nullable). */
static GVariant *
take_spec (GVariantDict *given)
{
  g_autoptr (GVariant) text = take_option (given, "spec", "s");
  g_autoptr (GBytes) bytes = NULL;
  const char *json;
  gsize length;

  if (text == NULL)
    return NULL;
  json = g_variant_get_string (text, &length);
  bytes = g_bytes_new (json, length);
  return gantry_any_new (SPEC_TYPE, bytes);
}

/* The record of the call's sandbox that @given describes, and in *@ret_mask (transfer full) (optional) what
 * of it is given. Returns: (transfer full), or NULL. */
static GantryRecord *
take_record (Call *call, const char *id, GVariant *given, char ***ret_mask, GError **error)
{
  g_auto (GVariantDict) rest = G_VARIANT_DICT_INIT (given);
  g_auto (GVariantDict) fields = G_VARIANT_DICT_INIT (NULL);
  g_autoptr (GVariant) labels = take_option (&rest, "labels", "a{ss}");
  g_autoptr (GStrvBuilder) mask = g_strv_builder_new ();
  GVariant *spec = take_spec (&rest);

  if (spec != NULL)
    {
      g_variant_dict_insert_value (&fields, "spec", spec);
      g_strv_builder_add (mask, "fields.spec");
    }
  if (labels != NULL)
    g_strv_builder_add (mask, "labels");
  for (gsize i = 0; i < G_N_ELEMENTS (known_fields); i++)
    {
      g_autoptr (GVariant) value = take_option (&rest, known_fields[i].name, known_fields[i].type);
      g_autofree char *path = g_strconcat ("fields.", known_fields[i].name, NULL);

      if (value == NULL)
        continue;
      g_variant_dict_insert_value (&fields, known_fields[i].name, value);
      g_strv_builder_add (mask, path);
    }
  if (!options_are_empty (&rest, call->method, error))
    return NULL;
  if (ret_mask != NULL)
    *ret_mask = g_strv_builder_end (mask);
  else if (!g_variant_dict_contains (&fields, "sandboxer"))
    g_variant_dict_insert (&fields, "sandboxer", "s", SANDBOXER);
  return gantry_record_new (GANTRY_KIND_SANDBOX, call->ns, id, labels, g_variant_dict_end (&fields));
}

gboolean
create_sandbox (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) given = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autofree char *path = NULL;
  const char *id;

  g_variant_get (call->parameters, "(&s@a{sv})", &id, &given);
  record = take_record (call, id, given, NULL, error);
  if (record == NULL)
    return FALSE;
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error))
    return FALSE;
  path = path_sandbox (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

gboolean
get_sandbox (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *path = NULL;
  const char *id;

  g_variant_get (call->parameters, "(&s)", &id);
  if (id[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a sandbox must have an id");
  path = path_sandbox (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

/* Returns: (transfer full), or NULL. */
static GantryRecord *
get_record (Call *call, GError **error)
{
  GantryRecord *record = NULL;

  gantry_metadata_get (call->self->metadata, GANTRY_KIND_SANDBOX, call->ns, call->id, &record, NULL, error);
  return record;
}

static gboolean
exists (Call *call, GError **error)
{
  g_autoptr (GantryRecord) record = get_record (call, error);

  return record != NULL;
}

/* Returns: (transfer full) (nullable): nothing holds it. */
static GantryProcess *
get_process (Call *call)
{
  GantryProcess *process = NULL;

  return gantry_tasks_get (call->self->tasks, call->ns, call->id, "", &process, NULL, NULL) ? process : NULL;
}

static gboolean
create_task (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, netns = NULL, annotations = NULL, rootfs = NULL;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GantryProcess) process = NULL;
  GVariantDict dict, known;
  gboolean ok;

  g_variant_get (call->parameters, "(@a{sv})", &options);
  g_variant_dict_init (&dict, options);
  netns = take_option (&dict, "netns", "s");
  annotations = take_option (&dict, "annotations", "a{ss}");
  rootfs = take_option (&dict, "rootfs", "aa{sv}");
  ok = options_are_empty (&dict, call->method, error);
  g_variant_dict_clear (&dict);
  if (!ok || (rootfs != NULL && (mounts = take_mounts (rootfs, error)) == NULL))
    return FALSE;
  g_variant_dict_init (&known, NULL);
  if (netns != NULL)
    g_variant_dict_insert_value (&known, "netns", netns);
  if (annotations != NULL)
    g_variant_dict_insert_value (&known, "annotations", annotations);
  if (!gantry_tasks_create_sandbox (call->self->tasks, call->ns, call->id, g_variant_dict_end (&known),
                                    mounts, &process, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(u)", process->pid);
  return TRUE;
}

static gboolean
start (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryProcess) process = NULL;

  if (!exists (call, error))
    return FALSE;
  process = get_process (call);
  if (process == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "sandbox %s is not held by any task; CreateTask makes one", call->id);
  g_clear_pointer (&process, gantry_process_unref);
  if (!gantry_tasks_start (call->self->tasks, call->ns, call->id, "", &process, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(u)", process->pid);
  return TRUE;
}

static void
on_stopped (GantryProcess *process, const GError *error, gpointer user_data)
{
  g_autoptr (GDBusMethodInvocation) invocation = user_data;

  if (error != NULL)
    g_dbus_method_invocation_return_gerror (g_steal_pointer (&invocation), error);
  else
    g_dbus_method_invocation_return_value (g_steal_pointer (&invocation), NULL);
}

/* Holds no thread: it is answered when the end is known. */
static gboolean
stop (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GError) local = NULL;
  guint32 seconds;
  guint64 id;

  g_variant_get (call->parameters, "(u)", &seconds);
  if (!exists (call, error))
    return FALSE;
  g_object_ref (call->invocation);
  call->deferred = gantry_tasks_stop_sandbox (call->self->tasks, call->ns, call->id, seconds, on_stopped,
                                              call->invocation, &id, NULL, &local);
  if (call->deferred)
    return TRUE;
  g_object_unref (call->invocation);
  /* What was never there is stopped. */
  if (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
wait_for_end (Call *call, GVariant **ret_reply, GError **error)
{
  return exists (call, error) && answer_at_exit (call, "", error);
}

static gboolean
get_status (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = get_record (call, error);
  g_autoptr (GantryProcess) process = record != NULL ? get_process (call) : NULL;
  const char *state = "absent";
  GVariantDict dict;

  if (record == NULL)
    return FALSE;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "created", "x", record->created_ns);
  if (process != NULL)
    {
      state = process->status == GANTRY_TASK_RUNNING || process->status == GANTRY_TASK_PAUSED ? "ready"
                                                                                              : "not-ready";
      g_variant_dict_insert (&dict, "status", "s", status_name (process->status));
      g_variant_dict_insert (&dict, "pid", "u", process->pid);
      g_variant_dict_insert (&dict, "exit-status", "u", process->exit_status);
      g_variant_dict_insert (&dict, "exited", "x", process->exited_ns);
      g_variant_dict_insert (&dict, "bundle", "s", process->bundle != NULL ? process->bundle : "");
    }
  g_variant_dict_insert (&dict, "state", "s", state);
  *ret_reply = g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
get_platform (Call *call, GVariant **ret_reply, GError **error)
{
  if (!exists (call, error))
    return FALSE;
  *ret_reply = g_variant_new ("(s)", oci_host_platform ());
  return TRUE;
}

static gboolean
get_stats (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) stats = NULL;

  if (!exists (call, error)
      || !gantry_tasks_stats (call->self->tasks, call->ns, call->id, &stats, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", stats);
  return TRUE;
}

/* The spec as text, if it is JSON, and as it is stored. */
static void
describe_spec (GantryRecord *record, GVariantDict *dict)
{
  g_autoptr (GVariant) spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE (GANTRY_ANY_TYPE));
  g_autoptr (GBytes) bytes = spec != NULL ? gantry_any_get_bytes (spec) : NULL;
  g_autofree char *text = NULL;

  if (spec == NULL)
    return;
  text = g_utf8_make_valid (g_bytes_get_data (bytes, NULL), (gssize)g_bytes_get_size (bytes));
  g_variant_dict_insert (dict, "spec", "s", text);
  g_variant_dict_insert (dict, "spec-type", "s", gantry_any_get_type_url (spec));
}

static gboolean
inspect (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const fields[] = { "runtime", "runtime-options", "sandboxer", "extensions" };
  g_autoptr (GantryRecord) record = get_record (call, error);
  g_autoptr (GantryProcess) process = record != NULL ? get_process (call) : NULL;
  GVariantDict dict;

  if (record == NULL)
    return FALSE;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "s", record->id);
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++)
    {
      g_autoptr (GVariant) value = gantry_record_get_field (record, fields[i], NULL);

      if (value != NULL)
        g_variant_dict_insert_value (&dict, fields[i], value);
    }
  describe_spec (record, &dict);
  if (record->labels != NULL)
    g_variant_dict_insert_value (&dict, "labels", record->labels);
  g_variant_dict_insert (&dict, "created", "x", record->created_ns);
  g_variant_dict_insert (&dict, "updated", "x", record->updated_ns);
  if (process != NULL)
    g_variant_dict_insert_value (&dict, "task", properties_of_task (call->self, process));
  *ret_reply = g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
update (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) given = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_auto (GStrv) mask = NULL;

  g_variant_get (call->parameters, "(@a{sv})", &given);
  record = take_record (call, call->id, given, &mask, error);
  if (record == NULL)
    return FALSE;
  if (g_strv_contains ((const char *const *)mask, "fields.sandboxer"))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "sandbox %s: its \"sandboxer\" is what it was made with", call->id);
  /* An empty mask would mean all of it. */
  if (mask[0] == NULL)
    return exists (call, error);
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = g_steal_pointer (&mask);
  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error);
}

static gboolean
set_sandbox_labels (Call *call, GVariant **ret_reply, GError **error)
{
  return set_labels (call, GANTRY_KIND_SANDBOX, call->ns, call->id, error);
}

/* What has no task is shut down. */
static gboolean
end_task (Call *call, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (gantry_tasks_delete_sandbox (call->self->tasks, call->ns, call->id, NULL, &local)
      || gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
shut_down (Call *call, GVariant **ret_reply, GError **error)
{
  return exists (call, error) && end_task (call, error);
}

static gboolean
delete_sandbox (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = get_record (call, error);
  g_autoptr (GantryProcess) process = record != NULL ? get_process (call) : NULL;
  g_autoptr (GantryChange) change = NULL;
  gboolean force;

  g_variant_get (call->parameters, "(b)", &force);
  if (record == NULL)
    return FALSE;
  if (!force && process != NULL && process->status != GANTRY_TASK_STOPPED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "sandbox %s is held by a task that has not ended; stop it, or use force", call->id);
  if (process != NULL && !end_task (call, error))
    return FALSE;
  change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error);
}

CallFunc
sandbox_find (const char *method)
{
  static const Method methods[] = {
    { "CreateTask", create_task },
    { "Start", start },
    { "Stop", stop },
    { "Wait", wait_for_end },
    { "GetStatus", get_status },
    { "GetPlatform", get_platform },
    { "GetStats", get_stats },
    { "Inspect", inspect },
    { "Update", update },
    { "SetLabels", set_sandbox_labels },
    { "Shutdown", shut_down },
    { "Delete", delete_sandbox },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
