/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Objects on demand: paths are taken apart when they are called, nothing is kept for each. Calls run on
 * worker threads. */
#include "api-dbus.h"

#include <string.h>
#include <unistd.h>

#define HAS_CALLED "gantry-has-called"
#define PROPERTIES "org.freedesktop.DBus.Properties"

int
call_fd (Call *call, gint32 handle, GError **error)
{
  GUnixFDList *passed
      = g_dbus_message_get_unix_fd_list (g_dbus_method_invocation_get_message (call->invocation));

  if (passed == NULL || handle < 0 || handle >= g_unix_fd_list_get_length (passed))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the call names a descriptor that was not passed");
      return -1;
    }
  return g_unix_fd_list_get (passed, handle, error);
}

GUnixFDList *
call_fds (Call *call, GVariant *handles, GError **error)
{
  g_autoptr (GUnixFDList) list = g_unix_fd_list_new ();

  for (gsize i = 0; i < g_variant_n_children (handles); i++)
    {
      gint32 handle;
      int fd, at;

      g_variant_get_child (handles, i, "h", &handle);
      fd = call_fd (call, handle, error);
      if (fd < 0)
        return NULL;
      at = g_unix_fd_list_append (list, fd, error);
      close (fd);
      if (at < 0)
        return NULL;
    }
  return g_steal_pointer (&list);
}

void
call_free (gpointer data)
{
  Call *call = data;

  g_object_unref (call->invocation);
  g_variant_unref (call->parameters);
  g_free (call->ns);
  g_free (call->id);
  g_free (call->exec);
  g_free (call);
}

CallFunc
find_in (const Method *methods, gsize n, const char *name)
{
  for (gsize i = 0; i < n; i++)
    if (strcmp (methods[i].name, name) == 0)
      return methods[i].func;
  return NULL;
}

static CallFunc
find_method (const char *interface, const char *method)
{
  static const struct
  {
    const char *name;
    CallFunc (*find) (const char *method);
  } interfaces[] = {
    { "org.gantry1.Manager", manager_find }, { "org.gantry1.Namespace", namespace_find },
    { "org.gantry1.Image", image_find },     { "org.gantry1.Container", container_find },
    { "org.gantry1.Task", task_find },       { "org.gantry1.Job", job_find },
    { "org.gantry1.Plugin", plugin_find },   { "org.gantry1.Process", process_find },
    { "org.gantry1.Mount", mount_find },     { "org.gantry1.Sandbox", sandbox_find },
    { PROPERTIES, properties_find },
  };

  if (strcmp (interface, "org.freedesktop.DBus.ObjectManager") == 0)
    return get_managed_objects;
  for (gsize i = 0; i < G_N_ELEMENTS (interfaces); i++)
    if (strcmp (interfaces[i].name, interface) == 0)
      return interfaces[i].find (method);
  return NULL;
}

static void
run_call (gpointer data, gpointer unused)
{
  Call *call = data;
  g_autoptr (GError) error = NULL;
  GVariant *reply = NULL;
  CallFunc func = find_method (call->interface, call->method);
  gboolean ok;

  if (func == NULL)
    ok = gantry_throw (&error, GANTRY_ERROR_NOT_IMPLEMENTED, "%s is not implemented", call->method);
  else
    ok = func (call, &reply, &error);
  if (!ok)
    {
      gantry_error_normalize (&error);
      g_dbus_method_invocation_return_gerror (g_object_ref (call->invocation), error);
    }
  else if (!call->deferred)
    g_dbus_method_invocation_return_value (g_object_ref (call->invocation), reply);
}

void
call_submit (Call *call)
{
  g_autoptr (GError) error = NULL;

  if (gantry_host_submit (call->self->host, GANTRY_POOL_RUNTIME, run_call, call, call_free, &error))
    return;
  g_dbus_method_invocation_return_gerror (g_object_ref (call->invocation), error);
  call_free (call);
}

void
connection_has_called (GDBusConnection *connection)
{
  g_object_set_data (G_OBJECT (connection), HAS_CALLED, GINT_TO_POINTER (TRUE));
}

gboolean
connection_wants_signals (GDBusConnection *connection)
{
  return g_object_get_data (G_OBJECT (connection), HAS_CALLED) != NULL;
}

/* The parameters of the call with the exec's id first. Returns: (transfer full). */
static GVariant *
with_exec (Call *call)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_TUPLE);
  g_variant_builder_add (&builder, "s", call->exec);
  for (gsize i = 0; i < g_variant_n_children (call->parameters); i++)
    {
      g_autoptr (GVariant) child = g_variant_get_child_value (call->parameters, i);

      g_variant_builder_add_value (&builder, child);
    }
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

/* Properties come here too, since the vtable has no getters: they are read from the database, which is no
 * work for the main context. */
static void
on_method (GDBusConnection *connection, const char *sender, const char *path, const char *interface,
           const char *method, GVariant *parameters, GDBusMethodInvocation *invocation, gpointer user_data)
{
  Call *call = g_new0 (Call, 1);
  const char *collection;

  connection_has_called (connection);
  call->self = user_data;
  call->invocation = invocation;
  call->interface = g_dbus_method_invocation_get_interface_name (invocation);
  call->method = g_dbus_method_invocation_get_method_name (invocation);
  call->parameters = g_variant_ref (g_dbus_method_invocation_get_parameters (invocation));
  if (path_parse (path, &collection, &call->ns, &call->id, &call->exec))
    {
      if (strcmp (call->interface, "org.gantry1.Process") == 0)
        {
          GVariant *without = call->parameters;

          call->parameters = with_exec (call);
          g_variant_unref (without);
        }
      authorize (call);
    }
  else
    {
      g_dbus_method_invocation_return_error (g_object_ref (invocation), GANTRY_ERROR,
                                             GANTRY_ERROR_INVALID_ARGUMENT, "%s is no object of Gantry",
                                             path);
      call_free (call);
    }
}

static const GDBusInterfaceVTable interface_vtable = { on_method, NULL, NULL, { NULL } };

static char **
enumerate (GDBusConnection *connection, const char *sender, const char *path, gpointer user_data)
{
  return g_new0 (char *, 1);
}

static void
add_interface (ApiDbus *self, GPtrArray *interfaces, const char *name)
{
  g_ptr_array_add (interfaces,
                   g_dbus_interface_info_ref (g_dbus_node_info_lookup_interface (self->info, name)));
}

static GDBusInterfaceInfo **
introspect (GDBusConnection *connection, const char *sender, const char *path, const char *node,
            gpointer user_data)
{
  ApiDbus *self = user_data;
  GPtrArray *interfaces;
  g_autofree char *full = NULL, *ns = NULL, *id = NULL, *exec = NULL, *end = NULL, *name = NULL;
  const char *collection;

  if (node == NULL)
    return NULL;
  /* GLib gives the registered path here or the whole one. */
  end = g_strconcat ("/", node, NULL);
  full = g_str_has_suffix (path, end) ? g_strdup (path) : g_strconcat (path, end, NULL);
  if (!path_parse (full, &collection, &ns, &id, &exec))
    return NULL;
  interfaces = g_ptr_array_new ();
  name = g_strconcat ("org.gantry1.", collection, NULL);
  name[strlen ("org.gantry1.")] = g_ascii_toupper (name[strlen ("org.gantry1.")]);
  add_interface (self, interfaces, name);
  /* A task that is not there answers NOT_FOUND, which says more than an unknown interface. */
  if (strcmp (collection, "container") == 0 || strcmp (collection, "sandbox") == 0)
    add_interface (self, interfaces, "org.gantry1.Task");
  g_ptr_array_add (interfaces, NULL);
  return (GDBusInterfaceInfo **)g_ptr_array_free (interfaces, FALSE);
}

static const GDBusInterfaceVTable *
dispatch (GDBusConnection *connection, const char *sender, const char *path, const char *interface,
          const char *node, gpointer *out_user_data, gpointer user_data)
{
  *out_user_data = user_data;
  return &interface_vtable;
}

static const GDBusSubtreeVTable subtree_vtable = { enumerate, introspect, dispatch, { NULL } };

gboolean
objects_export (ApiDbus *self, GDBusConnection *connection, GError **error)
{
  static const char *const interfaces[] = { "org.gantry1.Manager", "org.freedesktop.DBus.ObjectManager" };
  static const char *const subtrees[]
      = { ROOT "/namespace", ROOT "/image",  ROOT "/container", ROOT "/process",
          ROOT "/job",       ROOT "/plugin", ROOT "/mount",     ROOT "/sandbox" };

  for (gsize i = 0; i < G_N_ELEMENTS (interfaces); i++)
    if (g_dbus_connection_register_object (connection, ROOT,
                                           g_dbus_node_info_lookup_interface (self->info, interfaces[i]),
                                           &interface_vtable, self, NULL, error)
        == 0)
      return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (subtrees); i++)
    if (g_dbus_connection_register_subtree (connection, subtrees[i], &subtree_vtable,
                                            G_DBUS_SUBTREE_FLAGS_DISPATCH_TO_UNENUMERATED_NODES, self, NULL,
                                            error)
        == 0)
      return FALSE;
  return TRUE;
}
