/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-object-private.h"
#include "gantry-error.h"

#include <string.h>

typedef struct
{
  GDBusConnection *connection;
  char *path;
} GantryObjectPrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE (GantryObject, gantry_object, G_TYPE_OBJECT)

enum
{
  PROP_CONNECTION = 1,
  PROP_PATH,
  N_PROPS
};

static GParamSpec *props[N_PROPS];

#define BUS_NAME "org.gantry1"

static void
gantry_object_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GantryObjectPrivate *priv = gantry_object_get_instance_private (GANTRY_OBJECT (object));

  if (id == PROP_CONNECTION)
    g_value_set_object (value, priv->connection);
  else if (id == PROP_PATH)
    g_value_set_string (value, priv->path);
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
gantry_object_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GantryObjectPrivate *priv = gantry_object_get_instance_private (GANTRY_OBJECT (object));

  if (id == PROP_CONNECTION)
    g_set_object (&priv->connection, g_value_get_object (value));
  else if (id == PROP_PATH)
    {
      g_free (priv->path);
      priv->path = g_value_dup_string (value);
    }
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
gantry_object_finalize (GObject *object)
{
  GantryObjectPrivate *priv = gantry_object_get_instance_private (GANTRY_OBJECT (object));

  g_clear_object (&priv->connection);
  g_free (priv->path);
  G_OBJECT_CLASS (gantry_object_parent_class)->finalize (object);
}

static void
gantry_object_class_init (GantryObjectClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = gantry_object_get_property;
  object_class->set_property = gantry_object_set_property;
  object_class->finalize = gantry_object_finalize;
  /**
   * GantryObject:connection:
   *
   * The connection to the daemon.
   */
  props[PROP_CONNECTION]
      = g_param_spec_object ("connection", NULL, NULL, G_TYPE_DBUS_CONNECTION,
                             G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_STATIC_STRINGS);
  /**
   * GantryObject:path:
   *
   * Its D-Bus path.
   */
  props[PROP_PATH]
      = g_param_spec_string ("path", NULL, NULL, NULL,
                             G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, props);
  /* The errors of the daemon are to arrive as ours. */
  gantry_error_quark ();
}

static void
gantry_object_init (GantryObject *self)
{
}

/**
 * gantry_object_get_connection:
 * @self: an object
 *
 * Returns: (transfer none): the connection to the daemon
 */
GDBusConnection *
gantry_object_get_connection (GantryObject *self)
{
  GantryObjectPrivate *priv = gantry_object_get_instance_private (self);

  g_return_val_if_fail (GANTRY_IS_OBJECT (self), NULL);
  return priv->connection;
}

/**
 * gantry_object_get_path:
 * @self: an object
 *
 * Returns: (transfer none): its D-Bus path
 */
const char *
gantry_object_get_path (GantryObject *self)
{
  GantryObjectPrivate *priv = gantry_object_get_instance_private (self);

  g_return_val_if_fail (GANTRY_IS_OBJECT (self), NULL);
  return priv->path;
}

/* A peer has no names. */
static const char *
bus_name (GDBusConnection *connection)
{
  return g_dbus_connection_get_unique_name (connection) != NULL ? BUS_NAME : NULL;
}

/* The D-Bus name of an error is no part of its message. */
static void
strip (GError *error)
{
  if (error != NULL)
    g_dbus_error_strip_remote_error (error);
}

/* Our own interfaces go by their last word, those of D-Bus by their whole names. */
static char *
interface_name (const char *interface)
{
  return strchr (interface, '.') != NULL ? g_strdup (interface) : g_strconcat (BUS_NAME ".", interface, NULL);
}

static GVariant *
call_sync (gpointer self, const char *interface, const char *method, GVariant *parameters, GUnixFDList *fds,
           GUnixFDList **ret_fds, GCancellable *cancellable, GError **error)
{
  GDBusConnection *connection = gantry_object_get_connection (self);
  g_autofree char *full = interface_name (interface);
  g_autoptr (GError) local = NULL;
  GVariant *reply
      = g_dbus_connection_call_with_unix_fd_list_sync (connection, bus_name (connection),
                                                       gantry_object_get_path (self), full, method,
                                                       parameters, NULL, G_DBUS_CALL_FLAGS_NONE, G_MAXINT,
                                                       fds, ret_fds, cancellable, &local);

  if (reply == NULL)
    {
      strip (local);
      g_propagate_error (error, g_steal_pointer (&local));
    }
  return reply;
}

GVariant *
_gantry_object_call (gpointer self, const char *interface, const char *method, GVariant *parameters,
                     GUnixFDList *fds, GCancellable *cancellable, GError **error)
{
  return call_sync (self, interface, method, parameters, fds, NULL, cancellable, error);
}

gboolean
_gantry_object_call_nothing (gpointer self, const char *interface, const char *method, GVariant *parameters,
                             GUnixFDList *fds, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) reply
      = _gantry_object_call (self, interface, method, parameters, fds, cancellable, error);

  return reply != NULL;
}

static GVariant *
first_of (GVariant *reply)
{
  return g_variant_n_children (reply) > 0 ? g_variant_get_child_value (reply, 0) : g_variant_ref (reply);
}

GVariant *
_gantry_object_call_value (gpointer self, const char *interface, const char *method, GVariant *parameters,
                           GUnixFDList *fds, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) reply
      = _gantry_object_call (self, interface, method, parameters, fds, cancellable, error);

  return reply != NULL ? first_of (reply) : NULL;
}

static void
on_called (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GTask) task = data;
  GError *error = NULL;
  GUnixFDList *fds = NULL;
  g_autoptr (GVariant) reply
      = g_dbus_connection_call_with_unix_fd_list_finish (G_DBUS_CONNECTION (object), &fds, result, &error);

  strip (error);
  if (fds != NULL)
    g_task_set_task_data (task, fds, g_object_unref);
  if (reply == NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, first_of (reply), (GDestroyNotify)g_variant_unref);
}

void
_gantry_object_call_async (gpointer self, const char *interface, const char *method, GVariant *parameters,
                           GUnixFDList *fds, gpointer tag, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  GDBusConnection *connection = gantry_object_get_connection (self);
  g_autofree char *full = interface_name (interface);
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  g_task_set_source_tag (task, tag);
  g_dbus_connection_call_with_unix_fd_list (connection, bus_name (connection), gantry_object_get_path (self),
                                            full, method, parameters, NULL, G_DBUS_CALL_FLAGS_NONE, G_MAXINT,
                                            fds, cancellable, on_called, task);
}

GVariant *
_gantry_object_finish_value (gpointer self, gpointer tag, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, tag), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

gboolean
_gantry_object_finish_nothing (gpointer self, gpointer tag, GAsyncResult *result, GError **error)
{
  g_autoptr (GVariant) value = _gantry_object_finish_value (self, tag, result, error);

  return value != NULL;
}

/* The only descriptor of @fds (nullable), or -1. */
static int
only_fd (GUnixFDList *fds, GError **error)
{
  if (fds != NULL && g_unix_fd_list_get_length (fds) == 1)
    return g_unix_fd_list_get (fds, 0, error);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "the daemon has passed no descriptor");
  return -1;
}

int
_gantry_object_call_fd (gpointer self, const char *interface, const char *method, GVariant *parameters,
                        GCancellable *cancellable, GError **error)
{
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GVariant) reply
      = call_sync (self, interface, method, parameters, NULL, &fds, cancellable, error);

  return reply != NULL ? only_fd (fds, error) : -1;
}

int
_gantry_object_finish_fd (gpointer self, gpointer tag, GAsyncResult *result, GError **error)
{
  g_autoptr (GVariant) value = _gantry_object_finish_value (self, tag, result, error);

  return value != NULL ? only_fd (g_task_get_task_data (G_TASK (result)), error) : -1;
}

char *
_gantry_take_string (GVariant *value)
{
  char *string = value != NULL ? g_variant_dup_string (value, NULL) : NULL;

  g_clear_pointer (&value, g_variant_unref);
  return string;
}

char **
_gantry_take_strv (GVariant *value)
{
  char **strv = value != NULL ? g_variant_dup_strv (value, NULL) : NULL;

  g_clear_pointer (&value, g_variant_unref);
  return strv;
}

GVariant *
_gantry_options (GVariant *options)
{
  return options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0);
}

GVariant *
_gantry_handles (GUnixFDList *fds)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("ah"));
  for (int i = 0; fds != NULL && i < g_unix_fd_list_get_length (fds); i++)
    g_variant_builder_add (&builder, "h", i);
  return g_variant_builder_end (&builder);
}
