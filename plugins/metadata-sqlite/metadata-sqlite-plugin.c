/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metadata-sqlite.h"

#include <string.h>

static guint64
get_garbage_hint (GantryMetadata *self)
{
  return (guint64)g_atomic_int_get (&METADATA_SQLITE_FROM (self, metadata)->garbage_hint);
}

const GantryMetadataVtable metadata_sqlite_metadata_vtable = {
  .size = sizeof (GantryMetadataVtable),
  .get = records_get,
  .list = records_list,
  .apply = changes_apply,
  .list_lease = records_list_lease,
  .collect = garbage_collect,
  .pending_garbage = garbage_pending,
  .collected = garbage_collected,
  .why = garbage_why,
  .get_garbage_hint = get_garbage_hint,
  .verify = garbage_verify,
  .repair = garbage_repair,
};

static void
metadata_sqlite_fini (gpointer instance)
{
  MetadataSqlite *self = instance;

  if (self == NULL)
    return;
  database_close (self->database);
  g_free (self);
}

static gboolean
metadata_sqlite_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  MetadataSqlite *self;
  g_autofree char *path = NULL;
  guint64 max_events;
  Database *database;

  if (!gantry_host_get_config_uint64 (host, "MaxEvents", 10000, 100, 10000000, &max_events, error))
    return FALSE;
  path = g_build_filename (host->get_base_path (host, GANTRY_DIR_PERSISTENT), "metadata.db", NULL);
  database = database_open (path, max_events, error);
  if (database == NULL)
    return FALSE;
  self = g_new0 (MetadataSqlite, 1);
  self->metadata.vtable = &metadata_sqlite_metadata_vtable;
  self->index.vtable = &metadata_sqlite_index_vtable;
  self->log.vtable = &metadata_sqlite_log_vtable;
  self->host = host;
  self->database = database;
  *ret_instance = self;
  return TRUE;
}

static gpointer
metadata_sqlite_get (gpointer instance, const char *type)
{
  MetadataSqlite *self = instance;

  if (strcmp (type, GANTRY_METADATA_TYPE) == 0)
    return &self->metadata;
  if (strcmp (type, GANTRY_SNAPSHOT_INDEX_TYPE) == 0)
    return &self->index;
  return &self->log;
}

static const GantryProvide metadata_provide = { sizeof (GantryProvide), GANTRY_METADATA_TYPE };
static const GantryProvide index_provide = { sizeof (GantryProvide), GANTRY_SNAPSHOT_INDEX_TYPE };
static const GantryProvide log_provide = { sizeof (GantryProvide), GANTRY_EVENT_LOG_TYPE };
static const GantryProvide *const provides[] = { &metadata_provide, &index_provide, &log_provide, NULL };
static const char *const config_keys[] = { "MaxEvents", NULL };
static const char *const config_defaults[] = { "MaxEvents=10000", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Records, the snapshot index and the event log in one SQLite file",
  .provides = provides,
  .init = metadata_sqlite_init,
  .get = metadata_sqlite_get,
  .fini = metadata_sqlite_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
