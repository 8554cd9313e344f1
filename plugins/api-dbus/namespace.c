/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Namespace */
#include "api-dbus.h"

#include <string.h>
#include <unistd.h>

static gboolean
import_images (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GError) local = NULL;
  g_auto (GStrv) names = NULL;
  g_autofree char *token = NULL;
  GVariantDict dict;
  gint32 handle;
  int fd;

  g_variant_get (call->parameters, "(h@a{sv})", &handle, &options);
  g_variant_dict_init (&dict, options);
  g_variant_dict_lookup (&dict, "token", "s", &token);
  g_variant_dict_remove (&dict, "token");
  rest = g_variant_ref_sink (g_variant_dict_end (&dict));
  {
    g_autoptr (GVariant) handles = g_variant_ref_sink (g_variant_new_parsed ("[%h]", handle));

    fds = call_fds (call, handles, error);
  }
  if (fds == NULL || (fd = g_unix_fd_list_get (fds, 0, error)) < 0)
    return FALSE;
  if (!gantry_jobs_create (call->self->jobs, "import", call->ns, token, call->uid, &job, NULL, error))
    {
      close (fd);
      return FALSE;
    }
  if (gantry_transfer_import (call->self->transfer, job, call->ns, fd, rest, &names, gantry_job_get_cancellable (job), &local))
    {
      GVariantDict result;

      g_variant_dict_init (&result, NULL);
      g_variant_dict_insert (&result, "names", "^as", names);
      gantry_job_finish (job, g_variant_dict_end (&result), NULL);
      *ret_reply = g_variant_new ("(^as)", names);
    }
  else
    {
      gantry_job_finish (job, NULL, local);
      g_propagate_error (error, g_steal_pointer (&local));
    }
  close (fd);
  return names != NULL;
}

static gboolean
unpack_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *chain = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s@a{sv})", &name, &options);
  if (!gantry_jobs_create (call->self->jobs, "unpack", call->ns, NULL, call->uid, &job, NULL, error))
    return FALSE;
  gantry_transfer_unpack (call->self->transfer, job, call->ns, name, options, &chain, gantry_job_get_cancellable (job), &local);
  gantry_job_finish (job, NULL, local);
  if (chain == NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  *ret_reply = g_variant_new ("(s)", chain);
  return TRUE;
}

static void
describe_record (GantryRecord *record, GVariantDict *dict)
{
  if (record->labels != NULL)
    g_variant_dict_insert_value (dict, "labels", record->labels);
  g_variant_dict_insert (dict, "created", "x", record->created_ns);
  g_variant_dict_insert (dict, "updated", "x", record->updated_ns);
}

static gboolean
add_image (GantryRecord *record, gpointer user_data)
{
  g_autoptr (GVariant) target = gantry_record_get_field (record, "target", NULL);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "name", "s", record->id);
  if (target != NULL)
    g_variant_dict_insert_value (&dict, "target", target);
  describe_record (record, &dict);
  g_variant_builder_add_value (user_data, g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
list_images (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));

  if (!gantry_metadata_list (call->self->metadata, GANTRY_KIND_IMAGE, call->ns, NULL, NULL, 0, add_image, &list, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

static gboolean
inspect_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) details = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  if (!gantry_transfer_inspect (call->self->transfer, call->ns, name, NULL, &details, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", details);
  return TRUE;
}

static gboolean
remove_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  record = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, name, NULL, NULL);
  change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error)
         && gantry_store_collect (call->self->store, FALSE, NULL, NULL, error);
}

static gboolean
create_container (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  g_autofree char *path = NULL;
  const char *id, *image;

  g_variant_get (call->parameters, "(&s&s@a{sv})", &id, &image, &options);
  if (!gantry_tasks_create_container (call->self->tasks, call->ns, id, image, options, NULL, NULL, error))
    return FALSE;
  path = object_path_container (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

typedef struct {
  Call *call;
  GVariantBuilder *list;
} Listing;

static gboolean
add_container (GantryRecord *record, gpointer user_data)
{
  static const char *const statuses[] = { "unknown", "created", "running", "stopped", "paused", "pausing" };
  Listing *listing = user_data;
  g_autoptr (GantryProcess) process = NULL;
  const char *image = gantry_record_get_string (record, "image"), *runtime = gantry_record_get_string (record, "runtime");
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "s", record->id);
  g_variant_dict_insert (&dict, "image", "s", image != NULL ? image : "");
  g_variant_dict_insert (&dict, "runtime", "s", runtime != NULL ? runtime : "");
  describe_record (record, &dict);
  if (gantry_tasks_get (listing->call->self->tasks, record->ns, record->id, "", &process, NULL, NULL))
    {
      g_variant_dict_insert (&dict, "status", "s", statuses[process->status]);
      g_variant_dict_insert (&dict, "pid", "u", process->pid);
      g_variant_dict_insert (&dict, "exit-status", "u", process->exit_status);
    }
  g_variant_builder_add_value (listing->list, g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
list_containers (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));
  Listing listing = { call, &list };

  if (!gantry_metadata_list (call->self->metadata, GANTRY_KIND_CONTAINER, call->ns, NULL, NULL, 0, add_container, &listing,
                             NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

static gboolean
get_container (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *path = NULL;
  const char *id;

  g_variant_get (call->parameters, "(&s)", &id);
  if (id[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a container must have an id");
  path = object_path_container (call->ns, id);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

CallFunc
namespace_find (const char *method)
{
  static const struct { const char *name; CallFunc func; } methods[] = {
    { "ImportImages", import_images }, { "UnpackImage", unpack_image },         { "ListImages", list_images },
    { "InspectImage", inspect_image }, { "RemoveImage", remove_image },         { "CreateContainer", create_container },
    { "ListContainers", list_containers }, { "GetContainer", get_container },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (methods); i++)
    if (strcmp (methods[i].name, method) == 0)
      return methods[i].func;
  return NULL;
}
