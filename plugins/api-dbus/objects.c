/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Objects on demand: paths are taken apart when they are called, nothing is kept for each. Calls run on worker threads. */
#include "api-dbus.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOT "/org/gantry1"

static char *
escape (const char *text)
{
  GString *out = g_string_new (NULL);

  for (; *text != '\0'; text++)
    if (g_ascii_isalnum (*text))
      g_string_append_c (out, *text);
    else
      g_string_append_printf (out, "_%02x", (guint8) *text);
  return g_string_free (out, FALSE);
}

static char *
unescape (const char *text)
{
  g_autoptr (GString) out = g_string_new (NULL);

  for (; *text != '\0'; text++)
    {
      if (*text != '_')
        g_string_append_c (out, *text);
      else if (g_ascii_isxdigit (text[1]) && g_ascii_isxdigit (text[2]) && (text[1] != '0' || text[2] != '0'))
        {
          g_string_append_c (out, (char) (g_ascii_xdigit_value (text[1]) << 4 | g_ascii_xdigit_value (text[2])));
          text += 2;
        }
      else
        return NULL;
    }
  return g_utf8_validate (out->str, -1, NULL) ? g_string_free (g_steal_pointer (&out), FALSE) : NULL;
}

char *
object_path_namespace (const char *ns)
{
  g_autofree char *escaped = escape (ns);

  return g_strconcat (ROOT "/namespace/", escaped, NULL);
}

char *
object_path_container (const char *ns, const char *id)
{
  g_autofree char *both = g_strconcat (ns, "/", id, NULL);
  g_autofree char *escaped = escape (both);

  return g_strconcat (ROOT "/container/", escaped, NULL);
}

GUnixFDList *
call_fds (Call *call, GVariant *handles, GError **error)
{
  GUnixFDList *passed
      = g_dbus_message_get_unix_fd_list (g_dbus_method_invocation_get_message (call->invocation));
  g_autoptr (GUnixFDList) list = g_unix_fd_list_new ();
  gint n_passed = passed != NULL ? g_unix_fd_list_get_length (passed) : 0;

  for (gsize i = 0; i < g_variant_n_children (handles); i++)
    {
      gint32 handle;
      int fd, at;

      g_variant_get_child (handles, i, "h", &handle);
      if (handle < 0 || handle >= n_passed)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the call names a descriptor that was not passed");
          return NULL;
        }
      fd = g_unix_fd_list_get (passed, handle, error);
      if (fd < 0)
        return NULL;
      at = g_unix_fd_list_append (list, fd, error);
      close (fd);
      if (at < 0)
        return NULL;
    }
  return g_steal_pointer (&list);
}

/* On a bus only root may call (polkit is not asked yet); the private socket lets only root in. */
static gboolean
authorize (Call *call, GError **error)
{
  GDBusConnection *connection = g_dbus_method_invocation_get_connection (call->invocation);
  g_autoptr (GVariant) reply = NULL;

  if (connection != call->self->bus)
    return TRUE;
  reply = g_dbus_connection_call_sync (connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                       "GetConnectionUnixUser",
                                       g_variant_new ("(s)", g_dbus_method_invocation_get_sender (call->invocation)),
                                       G_VARIANT_TYPE ("(u)"), G_DBUS_CALL_FLAGS_NONE, -1, NULL, error);
  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(u)", &call->uid);
  return call->uid == 0 || call->uid == getuid ()
         || gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "only root may use Gantry over a bus");
}

static void
call_free (gpointer data)
{
  Call *call = data;

  g_object_unref (call->invocation);
  g_free (call->ns);
  g_free (call->id);
  g_free (call);
}

static CallFunc
find_method (const char *interface, const char *method)
{
  if (strcmp (interface, "org.gantry1.Manager") == 0)
    return manager_find (method);
  if (strcmp (interface, "org.gantry1.Namespace") == 0)
    return namespace_find (method);
  return container_find (method);
}

static void
run_call (gpointer data, gpointer unused)
{
  Call *call = data;
  g_autoptr (GError) error = NULL;
  GVariant *reply = NULL;
  CallFunc func
      = find_method (g_dbus_method_invocation_get_interface_name (call->invocation), call->method);
  gboolean ok;

  if (!authorize (call, &error))
    ok = FALSE;
  else if (func == NULL)
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

#define HAS_CALLED "gantry-has-called"

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

static void
on_method (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *method,
           GVariant *parameters, GDBusMethodInvocation *invocation, gpointer user_data)
{
  ApiDbus *self = user_data;
  const char *node = strrchr (path, '/') + 1;
  g_autoptr (GError) error = NULL;
  Call *call = g_new0 (Call, 1);

  connection_has_called (connection);
  call->self = self;
  call->invocation = invocation;
  call->method = g_dbus_method_invocation_get_method_name (invocation);
  call->parameters = g_dbus_method_invocation_get_parameters (invocation);
  if (g_str_has_prefix (path, ROOT "/namespace/"))
    call->ns = unescape (node);
  else if (g_str_has_prefix (path, ROOT "/container/"))
    {
      char *slash = NULL;

      call->ns = unescape (node);
      slash = call->ns != NULL ? strchr (call->ns, '/') : NULL;
      if (slash != NULL)
        {
          call->id = g_strdup (slash + 1);
          *slash = '\0';
        }
    }
  if (gantry_host_submit (self->host, GANTRY_POOL_RUNTIME, run_call, call, call_free, &error))
    return;
  g_dbus_method_invocation_return_gerror (g_object_ref (invocation), error);
  call_free (call);
}

static const GDBusInterfaceVTable interface_vtable = { on_method, NULL, NULL, { NULL } };

static char **
enumerate (GDBusConnection *connection, const char *sender, const char *path, gpointer user_data)
{
  return g_new0 (char *, 1);
}

static GDBusInterfaceInfo **
introspect (GDBusConnection *connection, const char *sender, const char *path, const char *node, gpointer user_data)
{
  ApiDbus *self = user_data;
  /* GLib gives the registered path here or the whole one. */
  gboolean container = g_str_has_prefix (path, ROOT "/container");
  g_autofree char *name = node != NULL ? unescape (node) : NULL;
  GDBusInterfaceInfo **interfaces;

  if (name == NULL || name[0] == '\0' || (container && strchr (name, '/') == NULL))
    return NULL;
  interfaces = g_new0 (GDBusInterfaceInfo *, 2);
  interfaces[0] = g_dbus_interface_info_ref (
      g_dbus_node_info_lookup_interface (self->info, container ? "org.gantry1.Container" : "org.gantry1.Namespace"));
  return interfaces;
}

static const GDBusInterfaceVTable *
dispatch (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *node,
          gpointer *out_user_data, gpointer user_data)
{
  *out_user_data = user_data;
  return &interface_vtable;
}

static const GDBusSubtreeVTable subtree_vtable = { enumerate, introspect, dispatch, { NULL } };

gboolean
objects_export (ApiDbus *self, GDBusConnection *connection, GError **error)
{
  return g_dbus_connection_register_object (connection, ROOT,
                                            g_dbus_node_info_lookup_interface (self->info, "org.gantry1.Manager"),
                                            &interface_vtable, self, NULL, error)
             != 0
         && g_dbus_connection_register_subtree (connection, ROOT "/namespace", &subtree_vtable,
                                                G_DBUS_SUBTREE_FLAGS_DISPATCH_TO_UNENUMERATED_NODES, self, NULL, error)
                != 0
         && g_dbus_connection_register_subtree (connection, ROOT "/container", &subtree_vtable,
                                                G_DBUS_SUBTREE_FLAGS_DISPATCH_TO_UNENUMERATED_NODES, self, NULL, error)
                != 0;
}
