/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who may call. The private socket lets only root (and the daemon's own user) in. On a bus others may call
 * what polkit allows them; polkit is asked over the bus, without its library, and the answer is awaited
 * without a thread: it can take as long as a person needs for a password. */
#include "api-dbus.h"

#include <string.h>
#include <unistd.h>

#define ACTION_INSPECT "org.gantry1.inspect"
#define ACTION_MANAGE  "org.gantry1.manage"
#define ASK_TIMEOUT_MS (5 * 60 * 1000)

static void
refuse (Call *call, const char *why)
{
  g_autoptr (GError) error = NULL;

  gantry_throw (&error, GANTRY_ERROR_PERMISSION_DENIED, "user %u may not call %s: %s", call->uid,
                call->method, why);
  g_dbus_method_invocation_return_gerror (g_object_ref (call->invocation), error);
  call_free (call);
}

/* Methods that change nothing. */
static const char *
action_of (Call *call)
{
  static const char *const harmless[] = { "Get", "List", "Inspect", "Wait", "WhyKept", NULL };

  for (gsize i = 0; harmless[i] != NULL; i++)
    if (g_str_has_prefix (call->method, harmless[i]))
      return ACTION_INSPECT;
  return ACTION_MANAGE;
}

static void
on_checked (GObject *object, GAsyncResult *result, gpointer data)
{
  Call *call = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (object), result, &error);
  gboolean authorized = FALSE;

  if (reply == NULL)
    {
      refuse (call, "polkit could not be asked; be root, or see that polkitd runs on this bus");
      return;
    }
  g_variant_get (reply, "((bb@a{ss}))", &authorized, NULL, NULL);
  if (authorized)
    call_submit (call);
  else
    refuse (call, "polkit does not allow it");
}

static void
ask_polkit (Call *call)
{
  GDBusMessage *message = g_dbus_method_invocation_get_message (call->invocation);
  guint32 interactive
      = (g_dbus_message_get_flags (message) & G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION) != 0 ? 1
                                                                                                         : 0;
  GVariantBuilder subject;

  g_variant_builder_init (&subject, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&subject, "{sv}", "name",
                         g_variant_new_string (g_dbus_method_invocation_get_sender (call->invocation)));
  g_dbus_connection_call (call->self->bus, "org.freedesktop.PolicyKit1",
                          "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
                          "CheckAuthorization",
                          g_variant_new ("((sa{sv})sa{ss}us)", "system-bus-name", &subject, action_of (call),
                                         NULL, interactive, ""),
                          G_VARIANT_TYPE ("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, ASK_TIMEOUT_MS, NULL,
                          on_checked, call);
}

static void
on_uid (GObject *object, GAsyncResult *result, gpointer data)
{
  Call *call = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (object), result, &error);

  call->uid = (guint32)-1;
  if (reply == NULL)
    {
      refuse (call, error->message);
      return;
    }
  g_variant_get (reply, "(u)", &call->uid);
  if (call->uid == 0 || call->uid == getuid ())
    call_submit (call);
  else
    ask_polkit (call);
}

void
authorize (Call *call)
{
  GDBusConnection *connection = g_dbus_method_invocation_get_connection (call->invocation);

  if (connection != call->self->bus)
    {
      call_submit (call);
      return;
    }
  g_dbus_connection_call (connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                          "GetConnectionUnixUser",
                          g_variant_new ("(s)", g_dbus_method_invocation_get_sender (call->invocation)),
                          G_VARIANT_TYPE ("(u)"), G_DBUS_CALL_FLAGS_NONE, -1, NULL, on_uid, call);
}
