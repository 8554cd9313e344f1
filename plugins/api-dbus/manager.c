/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Manager */
#include "api-dbus.h"

#include <string.h>

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
get_config (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) settings = gantry_introspection_get_config (call->self->introspection);

  *ret_reply = g_variant_new ("(@aa{sv})", settings);
  return TRUE;
}

static gboolean
add_namespace (GantryRecord *record, gpointer user_data)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "name", "s", record->id);
  g_variant_dict_insert_value (&dict, "labels",
                               record->labels != NULL
                                   ? record->labels
                                   : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0));
  g_variant_dict_insert (&dict, "created", "x", record->created_ns);
  g_variant_builder_add_value (user_data, g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
list_namespaces (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));

  if (!gantry_metadata_list (call->self->metadata, GANTRY_KIND_NAMESPACE, "", NULL, NULL, 0, add_namespace,
                             &list, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(aa{sv})", &list);
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
  path = path_namespace (name);
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
  path = path_namespace (name);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
list_jobs (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GPtrArray) jobs = gantry_jobs_list (call->self->jobs);
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("ao"));

  for (guint i = 0; i < jobs->len; i++)
    {
      g_autofree char *path = path_of_job (g_ptr_array_index (jobs, i));

      g_variant_builder_add (&list, "o", path);
    }
  *ret_reply = g_variant_new ("(ao)", &list);
  return TRUE;
}

static gboolean
collect_garbage (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GPtrArray) garbage = NULL;
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a(sst)"));
  gboolean dry_run;

  g_variant_get (call->parameters, "(b)", &dry_run);
  if (!gantry_store_collect (call->self->store, dry_run, &garbage, NULL, error))
    return FALSE;
  for (guint i = 0; i < garbage->len; i++)
    {
      GantryGarbage *item = g_ptr_array_index (garbage, i);

      g_variant_builder_add (&list, "(sst)", item->kind, item->id, item->bytes);
    }
  *ret_reply = g_variant_new ("(a(sst))", &list);
  return TRUE;
}

static gboolean
why_kept (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GStrv) path = NULL;
  const char *kind, *ns, *id;

  g_variant_get (call->parameters, "(&s&s&s)", &kind, &ns, &id);
  if (!gantry_metadata_why (call->self->metadata, kind, ns, id, &path, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(^as)", path);
  return TRUE;
}

static gboolean
check (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GStrv) stored = NULL, running = NULL;
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("as"));
  gboolean repair;

  /* Tasks first: a stray one would keep what it uses. */
  g_variant_get (call->parameters, "(b)", &repair);
  if (!gantry_tasks_check (call->self->tasks, repair, &running, NULL, error)
      || !gantry_store_check (call->self->store, repair, &stored, NULL, error))
    return FALSE;
  for (gsize i = 0; running[i] != NULL; i++)
    g_variant_builder_add (&list, "s", running[i]);
  for (gsize i = 0; stored[i] != NULL; i++)
    g_variant_builder_add (&list, "s", stored[i]);
  *ret_reply = g_variant_new ("(as)", &list);
  return TRUE;
}

CallFunc
manager_find (const char *method)
{
  static const Method methods[] = {
    { "ListPlugins", list_plugins },
    { "GetTrace", get_trace },
    { "GetConfig", get_config },
    { "ListNamespaces", list_namespaces },
    { "CreateNamespace", create_namespace },
    { "DeleteNamespace", delete_namespace },
    { "GetNamespace", get_namespace },
    { "ListJobs", list_jobs },
    { "CollectGarbage", collect_garbage },
    { "WhyKept", why_kept },
    { "Check", check },
    { "ExplainRegistry", registry_explain },
    { "Login", registry_login },
    { "Logout", registry_logout },
    { "SearchTags", registry_search_tags },
    { "ListReferrers", registry_list_referrers },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
