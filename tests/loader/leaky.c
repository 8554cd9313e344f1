/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A module with every flaw that `gantry plugin check` finds by running it. LEAKY_FLAW chooses one. */
#include <gantry/plugin.h>

#include <fcntl.h>

typedef struct
{
  size_t size;
  void (*first) (void);
} LeakyVtable;

static const LeakyVtable vtable = { sizeof (LeakyVtable), NULL };
static const LeakyVtable *instance_vtable = &vtable;

#if LEAKY_FLAW == 4
G_MODULE_EXPORT void leaky_extra (void);
void
leaky_extra (void)
{
}
#endif

static gboolean
leaky_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  int fd = gantry_host_get_dir_fd (host, GANTRY_DIR_PERSISTENT, error);

#if LEAKY_FLAW == 1
  if (fd < 0)
    return FALSE;
  if (openat (fd, "left-open", O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 0)
    return gantry_throw_errno (error, errno, "opening left-open");
#elif LEAKY_FLAW == 2
  if (fd < 0)
    {
      g_clear_error (error);
      return FALSE; /* without an error */
    }
#elif LEAKY_FLAW == 3
  if (fd < 0)
    g_abort ();
#else
  if (fd < 0)
    return FALSE;
#endif
  *ret_instance = &instance_vtable;
  return TRUE;
}

static gpointer
leaky_get (gpointer instance, const char *type)
{
#if LEAKY_FLAW == 5
  return NULL;
#else
  return instance;
#endif
}

static void
leaky_fini (gpointer instance)
{
}

static const GantryProvide provide = { sizeof (GantryProvide), "org.example.leaky.v1" };
static const GantryProvide *const provides[] = { &provide, NULL };

#if LEAKY_FLAW == 6
static const char *const config_keys[] = { "Told", "Untold", NULL };
static const char *const config_defaults[] = { "Told=", NULL };
#elif LEAKY_FLAW == 7
static const char *const config_keys[] = { "Told", NULL };
static const char *const config_defaults[] = { "Told=1", "Tolds=2", NULL };
#else
static const char *const config_keys[] = { NULL };
static const char *const config_defaults[] = { NULL };
#endif

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = "leaky",
  .version = "1",
  .license = "LGPL-2.1-or-later",
  .description = "A module with a flaw",
  .provides = provides,
  .init = leaky_init,
  .get = leaky_get,
  .fini = leaky_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
