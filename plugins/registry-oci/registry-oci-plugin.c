/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include <part.h>

#include "registry-oci.h"

#define DEFAULT_SHORT_NAMES "docker.io/library"
#define DEFAULT_HOSTS_DIRS  "/etc/gantry/certs.d /etc/containerd/certs.d /etc/docker/certs.d"
#define DEFAULT_AUTH_FILES  "/etc/gantry/auth.json /run/containers/0/auth.json /root/.docker/config.json"

static GantryPart client_part = GANTRY_PART ("registry-oci-client");

static gboolean
complete (GantryRegistry *registry, const char *name, char ***ret_names, GCancellable *cancellable,
          GError **error)
{
  RegistryOci *self = (RegistryOci *)registry;
  char **names = gantry_reference_complete (name, (const char *const *)self->short_names, error);

  if (names == NULL)
    return FALSE;
  *ret_names = names;
  return TRUE;
}

/* The client, with its HTTP. Returns: (transfer none). */
static const RegistryClient *
get_client (RegistryOci *self, GError **error)
{
  const RegistryClient *client = gantry_part_open (&client_part, error);

  if (client == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  if (self->client == NULL)
    {
      self->client = client;
      self->http = client->http_new (&self->http_settings);
    }
  g_mutex_unlock (&self->lock);
  return client;
}

static gboolean
open_repository (GantryRegistry *registry, const char *reference, GantryRegistryAccess *access,
                 GantryRepository **ret_repository, GCancellable *cancellable, GError **error)
{
  const RegistryClient *client = get_client ((RegistryOci *)registry, error);

  return client != NULL
         && client->vtable.open (registry, reference, access, ret_repository, cancellable, error);
}

static gboolean
explain (GantryRegistry *registry, const char *reference, gboolean for_push, GantryRegistryAccess *access,
         GVariant **ret_hosts, GCancellable *cancellable, GError **error)
{
  const RegistryClient *client = get_client ((RegistryOci *)registry, error);

  return client != NULL
         && client->vtable.explain (registry, reference, for_push, access, ret_hosts, cancellable, error);
}

static gboolean
login (GantryRegistry *registry, const char *server, GantryRegistryAccess *access, gboolean store,
       GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  const RegistryClient *client = get_client ((RegistryOci *)registry, error);

  return client != NULL
         && client->vtable.login (registry, server, access, store, ret_details, cancellable, error);
}

static gboolean
logout (GantryRegistry *registry, const char *server, GCancellable *cancellable, GError **error)
{
  const RegistryClient *client = get_client ((RegistryOci *)registry, error);

  return client != NULL && client->vtable.logout (registry, server, cancellable, error);
}

static const GantryRegistryVtable vtable = {
  .size = sizeof (GantryRegistryVtable),
  .complete = complete,
  .open = open_repository,
  .explain = explain,
  .login = login,
  .logout = logout,
};

static void
registry_oci_fini (gpointer instance)
{
  RegistryOci *self = instance;

  if (self == NULL)
    return;
  if (self->client != NULL)
    self->client->http_free (self->http);
  g_strfreev (self->short_names);
  g_strfreev (self->hosts_dirs);
  g_strfreev (self->auth_files);
  g_clear_pointer (&self->tokens, g_hash_table_unref);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->auth_lock);
  g_free (self);
}

/* A list of words with blanks between them. */
static char **
get_list (const GantryHost *host, const char *key, const char *fallback)
{
  g_autofree char *text = g_strdup (gantry_host_get_config_string (host, key, fallback));
  g_auto (GStrv) words = g_strsplit_set (text, " \t,", -1);
  GPtrArray *kept = g_ptr_array_new ();

  for (gsize i = 0; words[i] != NULL; i++)
    if (words[i][0] != '\0')
      g_ptr_array_add (kept, g_strdup (words[i]));
  g_ptr_array_add (kept, NULL);
  return (char **)g_ptr_array_free (kept, FALSE);
}

static gboolean
get_number (const GantryHost *host, const char *key, guint64 fallback, guint64 min, guint64 max,
            guint *ret_value, GError **error)
{
  guint64 value;

  if (!gantry_host_get_config_uint64 (host, key, fallback, min, max, &value, error))
    return FALSE;
  *ret_value = (guint)value;
  return TRUE;
}

static gboolean
read_settings (RegistryOci *self, GError **error)
{
  HttpSettings *http = &self->http_settings;
  const GantryHost *host = self->host;

  self->short_names = get_list (host, "ShortNames", DEFAULT_SHORT_NAMES);
  self->hosts_dirs = get_list (host, "HostsDirs", DEFAULT_HOSTS_DIRS);
  self->auth_files = get_list (host, "AuthFiles", DEFAULT_AUTH_FILES);
  http->proxy = gantry_host_get_config_string (host, "Proxy", NULL);
  http->no_proxy = gantry_host_get_config_string (host, "NoProxy", NULL);
  for (gsize i = 0; self->short_names[i] != NULL; i++)
    if (!gantry_reference_check_prefix (self->short_names[i], error))
      {
        g_prefix_error (error, "configuration key ShortNames: ");
        return FALSE;
      }
  return get_number (host, "Attempts", 5, 1, 20, &self->attempts, error)
         && get_number (host, "BackoffMs", 500, 1, 60000, &self->backoff_ms, error)
         && get_number (host, "MaxWaitMs", 60000, 0, 3600000, &self->max_wait_ms, error)
         && get_number (host, "HelperMs", 30000, 100, 600000, &self->helper_ms, error)
         && get_number (host, "ConnectMs", 30000, 100, 600000, &http->connect_ms, error)
         && get_number (host, "AnswerMs", 60000, 100, 600000, &http->answer_ms, error)
         && get_number (host, "StallMs", 30000, 100, 600000, &http->stall_ms, error)
         && gantry_host_get_config_uint64 (host, "MinimumRate", 1024, 1, G_MAXUINT32, &http->minimum_rate,
                                           error);
}

static gboolean
registry_oci_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  RegistryOci *self = g_new0 (RegistryOci, 1);

  self->registry.vtable = &vtable;
  self->host = host;
  g_mutex_init (&self->lock);
  g_mutex_init (&self->auth_lock);
  if (!read_settings (self, error) || !gantry_part_find (&client_part, error))
    {
      registry_oci_fini (self);
      return FALSE;
    }
  *ret_instance = self;
  return TRUE;
}

static gpointer
registry_oci_get (gpointer instance, const char *type)
{
  return &((RegistryOci *)instance)->registry;
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_REGISTRY_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[]
    = { "ShortNames", "HostsDirs", "AuthFiles", "Proxy",    "NoProxy", "Attempts",    "BackoffMs",
        "MaxWaitMs",  "HelperMs",  "ConnectMs", "AnswerMs", "StallMs", "MinimumRate", NULL };
static const char *const config_defaults[] = {
  "ShortNames=" DEFAULT_SHORT_NAMES,
  "HostsDirs=" DEFAULT_HOSTS_DIRS,
  "AuthFiles=" DEFAULT_AUTH_FILES,
  "Proxy=",
  "NoProxy=",
  "Attempts=5",
  "BackoffMs=500",
  "MaxWaitMs=60000",
  "HelperMs=30000",
  "ConnectMs=30000",
  "AnswerMs=60000",
  "StallMs=30000",
  "MinimumRate=1024",
  NULL,
};

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Images at registries that speak HTTP",
  .provides = provides,
  .init = registry_oci_init,
  .get = registry_oci_get,
  .fini = registry_oci_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
