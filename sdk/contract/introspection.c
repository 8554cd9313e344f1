/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.introspection.v1. */
#include <gantry/introspection.h>

#include <string.h>
#include <unistd.h>

#include "suites.h"

#define N_THREADS 4

typedef struct
{
  const char *key;
  const char *type;
} Key;

static GantryIntrospection *
introspection_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static void
assert_keys (GVariant *dict, const Key *keys, gsize n)
{
  for (gsize i = 0; i < n; i++)
    {
      g_autoptr (GVariant) value = g_variant_lookup_value (dict, keys[i].key, NULL);

      if (value == NULL)
        g_error ("the key \"%s\" is missing", keys[i].key);
      g_assert_cmpstr (g_variant_get_type_string (value), ==, keys[i].type);
    }
}

static void
test_server (GantryContractFixture *fixture)
{
  static const Key keys[] = {
    { "version", "s" }, { "uuid", "s" },  { "pid", "u" }, { "started-at", "x" },
    { "root", "s" },    { "state", "s" }, { "abi", "u" },
  };
  g_autoptr (GVariant) server = gantry_introspection_get_server (introspection_of (fixture));
  const char *text = NULL;
  guint32 number = 0;

  g_assert_true (g_variant_is_of_type (server, G_VARIANT_TYPE_VARDICT));
  g_assert_false (g_variant_is_floating (server));
  assert_keys (server, keys, G_N_ELEMENTS (keys));
  g_variant_lookup (server, "version", "&s", &text);
  g_assert_cmpstr (text, !=, "");
  g_variant_lookup (server, "root", "&s", &text);
  g_assert_true (g_path_is_absolute (text));
  g_variant_lookup (server, "pid", "u", &number);
  g_assert_cmpuint (number, ==, getpid ());
  g_variant_lookup (server, "abi", "u", &number);
  g_assert_cmpuint (number, ==, GANTRY_ABI_MAJOR);
}

static void
assert_plugin (GVariant *plugin)
{
  static const Key keys[] = {
    { "type", "s" },     { "types", "as" },       { "id", "s" },         { "module", "s" },
    { "version", "s" },  { "license", "s" },      { "file", "s" },       { "description", "s" },
    { "manifest", "s" }, { "abi", "u" },          { "needs-abi", "u" },  { "build-id", "s" },
    { "rank", "i" },     { "on-failure", "s" },   { "state", "s" },      { "reason", "s" },
    { "status", "s" },   { "init-time-us", "t" }, { "needs", "aa{sv}" }, { "config", "aa{sv}" },
  };
  static const Key need_keys[] = { { "type", "s" }, { "id", "s" }, { "kind", "s" }, { "providers", "as" } };
  static const Key config_keys[] = { { "key", "s" }, { "value", "s" }, { "origin", "s" }, { "known", "b" } };
  static const char *const states[] = { "pending", "starting", "ok", "skipped", "failed", "ended", NULL };
  g_autoptr (GVariant) needs = NULL;
  g_autoptr (GVariant) config = NULL;
  const char *state = NULL, *reason = NULL;

  assert_keys (plugin, keys, G_N_ELEMENTS (keys));
  g_variant_lookup (plugin, "state", "&s", &state);
  g_variant_lookup (plugin, "reason", "&s", &reason);
  g_assert_true (g_strv_contains (states, state));
  if (strcmp (state, "skipped") == 0 || strcmp (state, "failed") == 0)
    g_assert_cmpstr (reason, !=, "");
  needs = g_variant_lookup_value (plugin, "needs", G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; i < g_variant_n_children (needs); i++)
    {
      g_autoptr (GVariant) need = g_variant_get_child_value (needs, i);

      assert_keys (need, need_keys, G_N_ELEMENTS (need_keys));
    }
  config = g_variant_lookup_value (plugin, "config", G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; i < g_variant_n_children (config); i++)
    {
      g_autoptr (GVariant) setting = g_variant_get_child_value (config, i);

      assert_keys (setting, config_keys, G_N_ELEMENTS (config_keys));
    }
}

static void
test_plugins (GantryContractFixture *fixture)
{
  g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (introspection_of (fixture));

  g_assert_true (g_variant_is_of_type (plugins, G_VARIANT_TYPE ("aa{sv}")));
  g_assert_false (g_variant_is_floating (plugins));
  g_assert_cmpuint (g_variant_n_children (plugins), >, 0);
  for (gsize i = 0; i < g_variant_n_children (plugins); i++)
    {
      g_autoptr (GVariant) plugin = g_variant_get_child_value (plugins, i);

      assert_plugin (plugin);
    }
}

static void
test_trace_and_config (GantryContractFixture *fixture)
{
  g_auto (GStrv) trace = gantry_introspection_get_trace (introspection_of (fixture));
  g_autoptr (GVariant) config = gantry_introspection_get_config (introspection_of (fixture));

  g_assert_nonnull (trace);
  for (gsize i = 0; trace[i] != NULL; i++)
    g_assert_null (strchr (trace[i], '\n'));
  g_assert_true (g_variant_is_of_type (config, G_VARIANT_TYPE ("aa{sv}")));
  g_assert_false (g_variant_is_floating (config));
}

static void
on_change (gpointer data, gpointer user_data)
{
  (void)data;
  ++*(guint *)user_data;
}

static void
test_watch (GantryContractFixture *fixture)
{
  GantryIntrospection *introspection = introspection_of (fixture);
  guint n = 0, before;
  guint64 one = gantry_introspection_watch (introspection, on_change, &n);
  guint64 two = gantry_introspection_watch (introspection, on_change, &n);

  g_assert_cmpuint (one, !=, 0);
  g_assert_cmpuint (one, !=, two);
  gantry_contract_spin ();
  gantry_introspection_unwatch (introspection, one);
  gantry_introspection_unwatch (introspection, two);
  gantry_introspection_unwatch (introspection, two);
  before = n;
  gantry_contract_spin ();
  g_assert_cmpuint (n, ==, before);
}

static void
read_all (guint i, gpointer data)
{
  GantryIntrospection *introspection = data;

  (void)i;
  for (guint j = 0; j < 20; j++)
    {
      g_autoptr (GVariant) server = gantry_introspection_get_server (introspection);
      g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (introspection);
      g_auto (GStrv) trace = gantry_introspection_get_trace (introspection);

      g_assert_nonnull (server);
      g_assert_nonnull (plugins);
      g_assert_nonnull (trace);
    }
}

static void
test_threads (GantryContractFixture *fixture)
{
  gantry_contract_race (N_THREADS, read_all, introspection_of (fixture));
}

static const GantryContractCase cases[] = {
  { "server", test_server }, { "plugins", test_plugins }, { "trace-and-config", test_trace_and_config },
  { "watch", test_watch },   { "threads", test_threads }, { NULL, NULL },
};

const GantryContractSuite gantry_contract_introspection = { GANTRY_INTROSPECTION_TYPE, cases };
