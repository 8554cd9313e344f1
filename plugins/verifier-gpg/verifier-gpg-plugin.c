/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "verifier-gpg.h"

#include <fdio.h>

static void
verifier_gpg_fini (gpointer instance)
{
  VerifierGpg *self = instance;

  if (self == NULL)
    return;
  gantry_fd_clear (&self->cache_fd);
  g_free (self);
}

static gboolean
verifier_gpg_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  VerifierGpg *self = g_new0 (VerifierGpg, 1);
  int root_fd;

  self->verifier.vtable = &verifier_gpg_vtable;
  self->host = host;
  self->cache_fd = -1;
  self->policy = gantry_host_get_config_string (host, "Policy", NULL);
  self->policy_is_optional = self->policy == NULL;
  if (self->policy == NULL)
    self->policy = VERIFIER_DEFAULT_POLICY;
  self->registries_d = gantry_host_get_config_string (host, "RegistriesDir", VERIFIER_DEFAULT_REGISTRIES_D);
  if (!verifier_gpg_find_parts (error))
    {
      verifier_gpg_fini (self);
      return FALSE;
    }
  root_fd = host->get_dir_fd (host, GANTRY_DIR_PERSISTENT, error);
  if (root_fd >= 0 && (self->run_dir = host->get_dir_path (host, GANTRY_DIR_RUN, error)) != NULL
      && (self->cache_fd = gantry_open_dir_at (root_fd, "signatures", 0700, error)) >= 0)
    {
      *ret_instance = self;
      return TRUE;
    }
  verifier_gpg_fini (self);
  return FALSE;
}

static gpointer
verifier_gpg_get (gpointer instance, const char *type)
{
  return &((VerifierGpg *)instance)->verifier;
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_VERIFIER_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "Policy", "RegistriesDir", NULL };
static const char *const config_defaults[]
    = { "Policy=" VERIFIER_DEFAULT_POLICY, "RegistriesDir=" VERIFIER_DEFAULT_REGISTRIES_D, NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Images verified by policy.json and simple signing",
  .provides = provides,
  .init = verifier_gpg_init,
  .get = verifier_gpg_get,
  .fini = verifier_gpg_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
