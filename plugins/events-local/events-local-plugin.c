/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "events-local.h"

static gboolean
events_local_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  g_autoptr (GError) local = NULL;
  GantryEventLog *log;
  guint64 backlog;

  if (!gantry_host_get_config_uint64 (host, "Backlog", 4096, 16, 1000000, &backlog, error))
    return FALSE;
  log = gantry_host_lookup (host, GANTRY_EVENT_LOG_TYPE, NULL, &local);
  if (local != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  *ret_instance = events_local_new (host, log, backlog);
  return TRUE;
}

static gpointer
events_local_get (gpointer instance, const char *type)
{
  return &((EventsLocal *)instance)->events;
}

static void
events_local_fini (gpointer instance)
{
  events_local_free (instance);
}

static const GantryNeed log_need
    = GANTRY_NEED_INIT (GANTRY_EVENT_LOG_TYPE, NULL, sizeof (GantryEventLogVtable), GANTRY_NEED_OPTIONAL);
static const GantryNeed *const needs[] = { &log_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_EVENTS_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "Backlog", NULL };
static const char *const config_defaults[] = { "Backlog=4096", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Publish and subscribe within the daemon",
  .provides = provides,
  .needs = needs,
  .init = events_local_init,
  .get = events_local_get,
  .fini = events_local_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
