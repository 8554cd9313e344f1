/* SPDX-License-Identifier: MIT */
#include "fake-introspection.h"

#include <unistd.h>

typedef struct
{
  GantryIntrospection introspection;
  gint last_watch; /* (atomic) */
} FakeIntrospection;

static GVariant *
parse (const char *text)
{
  return g_variant_ref_sink (g_variant_new_parsed (text));
}

static GVariant *
get_server (GantryIntrospection *introspection)
{
  (void)introspection;
  return g_variant_ref_sink (
      g_variant_new_parsed ("{'version': <'0'>, 'uuid': <'00000000-0000-4000-8000-000000000000'>, 'pid': "
                            "<%u>, 'started-at': <@x 1>,"
                            " 'root': <'/nonexistent/root'>, 'state': <'/nonexistent/state'>, 'abi': <%u>}",
                            (guint32)getpid (), (guint32)GANTRY_ABI_MAJOR));
}

static GVariant *
list_plugins (GantryIntrospection *introspection)
{
  (void)introspection;
  return parse (
      "[{'type': <'org.gantry.content.v1'>, 'types': <['org.gantry.content.v1']>, 'id': <'fake'>,"
      " 'module': <'content-fake'>, 'version': <'0'>, 'license': <'MIT'>, 'description': <'Nothing'>,"
      " 'file': <''>, 'manifest': <''>, 'abi': <@u 1>, 'needs-abi': <@u 1>, 'build-id': <''>, 'rank': <0>,"
      " 'on-failure': <'warn'>, 'state': <'ok'>, 'reason': <''>, 'status': <''>, 'init-time-us': <@t 1>,"
      " 'needs': <@aa{sv} []>, 'config': <@aa{sv} []>}]");
}

static char **
get_trace (GantryIntrospection *introspection)
{
  (void)introspection;
  return g_new0 (char *, 1);
}

static GVariant *
get_config (GantryIntrospection *introspection)
{
  (void)introspection;
  return parse ("@aa{sv} []");
}

/* Nothing ever changes. */
static guint64
watch (GantryIntrospection *introspection, GFunc func, gpointer user_data)
{
  (void)func;
  (void)user_data;
  return (guint64)g_atomic_int_add (&((FakeIntrospection *)introspection)->last_watch, 1) + 1;
}

static void
unwatch (GantryIntrospection *introspection, guint64 id)
{
  (void)introspection;
  (void)id;
}

static const GantryIntrospectionVtable vtable = {
  .size = sizeof vtable,
  .get_server = get_server,
  .list_plugins = list_plugins,
  .get_trace = get_trace,
  .get_config = get_config,
  .watch = watch,
  .unwatch = unwatch,
};

GantryIntrospection *
gantry_fake_introspection_new (void)
{
  FakeIntrospection *self = g_new0 (FakeIntrospection, 1);

  self->introspection.vtable = &vtable;
  return &self->introspection;
}

void
gantry_fake_introspection_free (GantryIntrospection *introspection)
{
  g_free (introspection);
}
