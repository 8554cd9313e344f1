/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Namespace */
#include "api-dbus.h"

#include <string.h>

#define MAX_LISTED 20000

typedef struct
{
  Call *call;
  GVariantBuilder *list;
  guint n;
  guint limit;
  gboolean filtered;
  GHashTable *tasks; /* (nullable): id to GantryProcess */
} Listing;

static void
describe_record (GantryRecord *record, GVariantDict *dict)
{
  if (record->labels != NULL)
    g_variant_dict_insert_value (dict, "labels", record->labels);
  g_variant_dict_insert (dict, "created", "x", record->created_ns);
  g_variant_dict_insert (dict, "updated", "x", record->updated_ns);
}

static gboolean
add_dict (Listing *listing, GVariantDict *dict)
{
  g_autoptr (GVariant) item = g_variant_ref_sink (g_variant_dict_end (dict));

  /* Bytes instead of a tree: of ten thousand items the trees would take a hundred megabytes. */
  g_variant_get_data (item);
  g_variant_builder_add_value (listing->list, item);
  return ++listing->n <= listing->limit;
}

static gboolean
add_image (GantryRecord *record, gpointer user_data)
{
  Listing *listing = user_data;
  g_autoptr (GVariant) target = gantry_record_get_field (record, "target", NULL);
  g_autofree char *path = path_image (record->ns, record->id);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "path", "o", path);
  g_variant_dict_insert (&dict, "name", "s", record->id);
  if (target != NULL)
    g_variant_dict_insert_value (&dict, "target", target);
  describe_record (record, &dict);
  return add_dict (listing, &dict);
}

static gboolean
list_records (Call *call, const char *kind, GantryRecordFunc func, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));
  Listing listing = { .call = call, .list = &list, .limit = MAX_LISTED };
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_auto (GStrv) filters = NULL;
  g_autofree char *after = NULL;
  g_autoptr (GHashTable) tasks = NULL;
  gboolean ok;
  guint32 limit = 0;
  GVariantDict dict;

  g_variant_get (call->parameters, "(@a{sv})", &options);
  g_variant_dict_init (&dict, options);
  g_variant_dict_lookup (&dict, "filters", "^as", &filters);
  g_variant_dict_lookup (&dict, "after", "s", &after);
  g_variant_dict_lookup (&dict, "limit", "u", &limit);
  g_variant_dict_remove (&dict, "filters");
  g_variant_dict_remove (&dict, "after");
  g_variant_dict_remove (&dict, "limit");
  rest = g_variant_ref_sink (g_variant_dict_end (&dict));
  if (g_variant_n_children (rest) > 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "unknown option; lists take filters, after and limit");
  listing.filtered = filters != NULL && filters[0] != NULL;
  ok = gantry_metadata_list (call->self->metadata, kind, call->ns, (const char *const *)filters, after, limit,
                             func, &listing, NULL, error);
  tasks = listing.tasks;
  if (!ok)
    return FALSE;
  if (listing.n > listing.limit)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "there are more than %d; give filters, or list them in parts with after and limit",
                         MAX_LISTED);
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

static gboolean
list_images (Call *call, GVariant **ret_reply, GError **error)
{
  return list_records (call, GANTRY_KIND_IMAGE, add_image, ret_reply, error);
}

static gboolean
get_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *whole = NULL, *path = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  whole = find_image_name (call, name, error);
  if (whole == NULL)
    return FALSE;
  path = path_image (call->ns, whole);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
create_container (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  g_autofree char *path = NULL, *whole = NULL;
  const char *id, *image;

  g_variant_get (call->parameters, "(&s&s@a{sv})", &id, &image, &options);
  if (image[0] != '\0' && (whole = find_image_name (call, image, error)) == NULL)
    return FALSE;
  if (!gantry_tasks_create_container (call->self->tasks, call->ns, id, whole, options, NULL, NULL, error))
    return FALSE;
  path = path_container (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

/* The task of a container or sandbox. Of a list of all they are asked for once. Returns: (transfer full)
 * (nullable). */
static GantryProcess *
find_task (Listing *listing, GantryRecord *record)
{
  GantryTasks *tasks = listing->call->self->tasks;
  GantryProcess *process = NULL;
  g_autoptr (GPtrArray) all = NULL;

  if (listing->filtered)
    return gantry_tasks_get (tasks, record->ns, record->id, "", &process, NULL, NULL) ? process : NULL;
  if (listing->tasks == NULL)
    {
      listing->tasks
          = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)gantry_process_unref);
      if (!gantry_tasks_list (tasks, record->ns, &all, NULL, NULL))
        all = g_ptr_array_new ();
      for (guint i = 0; i < all->len; i++)
        {
          process = gantry_process_ref (g_ptr_array_index (all, i));
          g_hash_table_replace (listing->tasks, process->id, process);
        }
    }
  process = g_hash_table_lookup (listing->tasks, record->id);
  return process != NULL ? gantry_process_ref (process) : NULL;
}

/* What is known of the record's task, if it has one. */
static void
describe_task (Listing *listing, GantryRecord *record, GVariantDict *dict)
{
  g_autoptr (GantryProcess) process = find_task (listing, record);

  if (process == NULL)
    return;
  g_variant_dict_insert (dict, "status", "s", status_name (process->status));
  g_variant_dict_insert (dict, "pid", "u", process->pid);
  g_variant_dict_insert (dict, "exit-status", "u", process->exit_status);
}

static void
describe_string (GantryRecord *record, const char *field, GVariantDict *dict)
{
  const char *value = gantry_record_get_string (record, field);

  g_variant_dict_insert (dict, field, "s", value != NULL ? value : "");
}

static gboolean
add_container (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_container (record->ns, record->id);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "path", "o", path);
  g_variant_dict_insert (&dict, "id", "s", record->id);
  describe_string (record, "image", &dict);
  describe_string (record, "runtime", &dict);
  describe_record (record, &dict);
  describe_task (user_data, record, &dict);
  return add_dict (user_data, &dict);
}

static gboolean
add_sandbox (GantryRecord *record, gpointer user_data)
{
  g_autofree char *path = path_sandbox (record->ns, record->id);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "path", "o", path);
  g_variant_dict_insert (&dict, "id", "s", record->id);
  describe_string (record, "runtime", &dict);
  describe_string (record, "sandboxer", &dict);
  describe_record (record, &dict);
  describe_task (user_data, record, &dict);
  return add_dict (user_data, &dict);
}

static gboolean
list_sandboxes (Call *call, GVariant **ret_reply, GError **error)
{
  return list_records (call, GANTRY_KIND_SANDBOX, add_sandbox, ret_reply, error);
}

static gboolean
list_containers (Call *call, GVariant **ret_reply, GError **error)
{
  return list_records (call, GANTRY_KIND_CONTAINER, add_container, ret_reply, error);
}

static gboolean
get_container (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *path = NULL;
  const char *id;

  g_variant_get (call->parameters, "(&s)", &id);
  if (id[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a container must have an id");
  path = path_container (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
set_namespace_labels (Call *call, GVariant **ret_reply, GError **error)
{
  return set_labels (call, GANTRY_KIND_NAMESPACE, "", call->ns, error);
}

CallFunc
namespace_find (const char *method)
{
  static const Method methods[] = {
    { "ImportImages", import_images },
    { "PullImage", pull_image },
    { "PushImage", push_image },
    { "ExportImages", export_images },
    { "ListImages", list_images },
    { "GetImage", get_image },
    { "SetLabels", set_namespace_labels },
    { "CreateContainer", create_container },
    { "ListContainers", list_containers },
    { "GetContainer", get_container },
    { "ListContent", list_content },
    { "InspectContent", inspect_content },
    { "OpenContent", open_blob },
    { "RemoveContent", remove_content },
    { "ActivateMounts", activate_mounts },
    { "ListMounts", list_mounts },
    { "GetMount", get_mount },
    { "CreateSandbox", create_sandbox },
    { "ListSandboxes", list_sandboxes },
    { "GetSandbox", get_sandbox },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
