/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A module from the past or from the future: AGED_OLD was built against a header whose structs ended earlier,
 * AGED_NEW against one whose structs are longer. Everything that crosses lives in allocations of just the
 * size that it says, so that a sanitizer sees who reads further. */
#include <gantry/plugin.h>

#include <stdlib.h>

#define TYPE  "org.example.aged.v1"
#define OTHER "org.example.one.v1"

/* The same structs as a later header has them. */
typedef struct
{
  GantryPluginDesc desc;
  gpointer later[4];
} NewDesc;

typedef struct
{
  GantryNeed need;
  const char *later;
} NewNeed;

typedef struct
{
  size_t size;
  void (*slots[AGED_SLOTS]) (void);
} AgedVtable;

typedef struct
{
  const AgedVtable *vtable;
} Aged;

static void
slot (void)
{
}

static gboolean
aged_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  AgedVtable *vtable;
  Aged *self;

  /* What a module that was built against a later header does before it calls a later slot. */
  if (host->size > sizeof (GantryHost))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "this host is from the future");
  if (gantry_host_lookup (host, OTHER, NULL, error) == NULL)
    return FALSE;
  vtable = g_malloc0 (sizeof *vtable);
  vtable->size = sizeof *vtable;
  for (gsize i = 0; i < AGED_SLOTS; i++)
    vtable->slots[i] = slot;
  self = g_new0 (Aged, 1);
  self->vtable = vtable;
  *ret_instance = self;
  return TRUE;
}

static gpointer
aged_get (gpointer instance, const char *type)
{
  return instance;
}

static void
aged_fini (gpointer instance)
{
  g_free ((gpointer)((Aged *)instance)->vtable);
  g_free (instance);
}

static gpointer
allocate (gconstpointer data, gsize size, gsize known)
{
  guint8 *copy = malloc (size); /* for ever, as everything that a descriptor points to */

  memset (copy, 0x5a, size);
  memcpy (copy, data, MIN (size, known));
  memcpy (copy, &size, sizeof size);
  return copy;
}

/* Made once; the core asks once. */
const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  static const GantryNeed need = GANTRY_NEED_INIT (OTHER, NULL, 0, GANTRY_NEED_ONE);
  static const GantryProvide provide = { sizeof (GantryProvide), TYPE };
  static const GantryNeed *needs[] = { NULL, NULL };
  static const GantryProvide *const provides[] = { &provide, NULL };
  static GantryPluginDesc *aged;
  const GantryPluginDesc desc = {
    .size = sizeof desc,
    .abi_major = GANTRY_ABI_MAJOR,
    .name = "aged",
    .version = "1",
    .license = "LGPL-2.1-or-later",
    .description = "A module of another time",
    .provides = provides,
    .needs = needs,
    .init = aged_init,
    .get = aged_get,
    .fini = aged_fini,
  };

  if (aged == NULL)
    {
      needs[0] = allocate (&need, AGED_OLD ? sizeof (GantryNeed) : sizeof (NewNeed), sizeof need);
      aged = allocate (&desc, AGED_OLD ? GANTRY_SIZE_UP_TO (GantryPluginDesc, fini) : sizeof (NewDesc),
                       sizeof desc);
    }
  return aged;
}
