/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Container */
#include "api-dbus.h"

#include <string.h>
#include <unistd.h>

static gboolean
inspect (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const strings[] = { "image", "runtime", "snapshotter", "snapshot-key", "sandbox-id" };
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GVariant) spec = NULL;
  g_autoptr (GantryProcess) process = NULL;
  GVariantDict dict;

  if (!gantry_metadata_get (call->self->metadata, GANTRY_KIND_CONTAINER, call->ns, call->id, &record, NULL,
                            error))
    return FALSE;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "s", record->id);
  for (gsize i = 0; i < G_N_ELEMENTS (strings); i++)
    if (gantry_record_get_string (record, strings[i]) != NULL)
      g_variant_dict_insert (&dict, strings[i], "s", gantry_record_get_string (record, strings[i]));
  spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
  if (spec != NULL)
    {
      g_autoptr (GBytes) bytes = gantry_any_get_bytes (spec);
      g_autofree char *text
          = g_utf8_make_valid (g_bytes_get_data (bytes, NULL), (gssize)g_bytes_get_size (bytes));

      g_variant_dict_insert (&dict, "spec", "s", text);
    }
  if (record->labels != NULL)
    g_variant_dict_insert_value (&dict, "labels", record->labels);
  if (gantry_tasks_get (call->self->tasks, call->ns, call->id, "", &process, NULL, NULL))
    g_variant_dict_insert_value (&dict, "task", properties_of_task (call->self, process));
  g_variant_dict_insert (&dict, "created", "x", record->created_ns);
  *ret_reply = g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
  return TRUE;
}

static gboolean
delete_container (Call *call, GVariant **ret_reply, GError **error)
{
  gboolean force;

  g_variant_get (call->parameters, "(b)", &force);
  return gantry_tasks_delete_container (call->self->tasks, call->ns, call->id, TRUE, force, NULL, error);
}

static gboolean
create_task (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, handles = NULL, rest = NULL;
  g_autoptr (GantryStdio) stdio = NULL;
  g_autoptr (GantryProcess) process = NULL;
  GVariantDict dict;

  g_variant_get (call->parameters, "(@a{sv}@ah)", &options, &handles);
  g_variant_dict_init (&dict, options);
  stdio = take_stdio (call, &dict, handles, error);
  rest = g_variant_ref_sink (g_variant_dict_end (&dict));
  if (stdio == NULL)
    return FALSE;
  if (g_variant_n_children (rest) > 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "unknown option; CreateTask takes stdin, stdout, stderr and terminal");
  if (!gantry_tasks_create_task (call->self->tasks, call->ns, call->id, stdio, NULL, NULL, NULL, &process,
                                 NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(u)", process->pid);
  return TRUE;
}

static gboolean
set_container_labels (Call *call, GVariant **ret_reply, GError **error)
{
  return set_labels (call, GANTRY_KIND_CONTAINER, call->ns, call->id, error);
}

/* Answers by itself: the dispatcher passes no descriptors. */
static gboolean
open_log (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  gboolean previous;
  int fd, at;

  g_variant_get (call->parameters, "(b)", &previous);
  if (!gantry_tasks_open_log (call->self->tasks, call->ns, call->id, previous, &fd, NULL, error))
    return FALSE;
  at = g_unix_fd_list_append (fds, fd, error);
  close (fd);
  if (at < 0)
    return FALSE;
  call->deferred = TRUE;
  g_dbus_method_invocation_return_value_with_unix_fd_list (g_object_ref (call->invocation),
                                                           g_variant_new ("(h)", at), fds);
  return TRUE;
}

CallFunc
container_find (const char *method)
{
  static const Method methods[] = {
    { "Inspect", inspect },        { "Delete", delete_container }, { "SetLabels", set_container_labels },
    { "CreateTask", create_task }, { "OpenLog", open_log },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
