/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Manager */
#include "api-dbus.h"

#include <string.h>

static gboolean
get_server (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) server = gantry_introspection_get_server (call->self->introspection);

  *ret_reply = g_variant_new ("(@a{sv})", server);
  return TRUE;
}

static gboolean
list_plugins (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (call->self->introspection);

  *ret_reply = g_variant_new ("(@aa{sv})", plugins);
  return TRUE;
}

static gboolean
get_trace (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GStrv) lines = gantry_introspection_get_trace (call->self->introspection);

  *ret_reply = g_variant_new ("(^as)", lines);
  return TRUE;
}

static gboolean
add_name (GantryRecord *record, gpointer user_data)
{
  g_variant_builder_add (user_data, "s", record->id);
  return TRUE;
}

static gboolean
list_namespaces (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) names = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE_STRING_ARRAY);

  if (!gantry_metadata_list (call->self->metadata, GANTRY_KIND_NAMESPACE, "", NULL, NULL, 0, add_name, &names, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(as)", &names);
  return TRUE;
}

static gboolean
change_namespace (Call *call, GantryChangeKind kind, const char *name, GVariant *labels, GError **error)
{
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_NAMESPACE, "", name, labels, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (kind, record);

  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error);
}

static gboolean
create_namespace (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) labels = NULL;
  g_autofree char *path = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s@a{ss})", &name, &labels);
  if (!change_namespace (call, GANTRY_CHANGE_CREATE, name, labels, error))
    return FALSE;
  path = object_path_namespace (name);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
delete_namespace (Call *call, GVariant **ret_reply, GError **error)
{
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  return change_namespace (call, GANTRY_CHANGE_DELETE, name, NULL, error);
}

static gboolean
get_namespace (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *path = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  if (name[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a namespace must have a name");
  path = object_path_namespace (name);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
list_jobs (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GPtrArray) jobs = gantry_jobs_list (call->self->jobs);
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));

  for (guint i = 0; i < jobs->len; i++)
    {
      g_autoptr (GVariant) properties = gantry_job_get_properties (g_ptr_array_index (jobs, i));
      GVariantDict dict;

      g_variant_dict_init (&dict, properties);
      g_variant_dict_insert (&dict, "id", "t", gantry_job_get_id (g_ptr_array_index (jobs, i)));
      g_variant_builder_add_value (&list, g_variant_dict_end (&dict));
    }
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

static gboolean
cancel_job (Call *call, GVariant **ret_reply, GError **error)
{
  guint64 id;

  g_variant_get (call->parameters, "(t)", &id);
  return gantry_jobs_cancel (call->self->jobs, id, NULL, error);
}

static gboolean
collect_garbage (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GPtrArray) garbage = NULL;
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a(ss)"));
  gboolean dry_run;

  g_variant_get (call->parameters, "(b)", &dry_run);
  if (!gantry_store_collect (call->self->store, dry_run, &garbage, NULL, error))
    return FALSE;
  for (guint i = 0; i < garbage->len; i++)
    {
      GantryGarbage *item = g_ptr_array_index (garbage, i);

      g_variant_builder_add (&list, "(ss)", item->kind, item->id);
    }
  *ret_reply = g_variant_new ("(a(ss))", &list);
  return TRUE;
}

static gboolean
check (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GStrv) problems = NULL;
  gboolean repair;

  g_variant_get (call->parameters, "(b)", &repair);
  if (!gantry_store_check (call->self->store, repair, &problems, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(^as)", problems);
  return TRUE;
}

CallFunc
manager_find (const char *method)
{
  static const struct { const char *name; CallFunc func; } methods[] = {
    { "GetServer", get_server },           { "ListPlugins", list_plugins },   { "GetTrace", get_trace },
    { "ListNamespaces", list_namespaces }, { "CreateNamespace", create_namespace },
    { "DeleteNamespace", delete_namespace }, { "GetNamespace", get_namespace }, { "ListJobs", list_jobs },
    { "CancelJob", cancel_job },           { "CollectGarbage", collect_garbage }, { "Check", check },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (methods); i++)
    if (strcmp (methods[i].name, method) == 0)
      return methods[i].func;
  return NULL;
}
