/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Platforms (image-spec, image-index.md): "os/architecture[/variant]". */
#include "oci.h"

#include <string.h>
#include <sys/utsname.h>

#define BEST 100

const char *
oci_host_platform (void)
{
  static const struct
  {
    const char *machine;
    const char *platform;
  } known[] = {
    { "x86_64", "linux/amd64" },  { "aarch64", "linux/arm64/v8" }, { "armv7l", "linux/arm/v7" },
    { "armv6l", "linux/arm/v6" }, { "i686", "linux/386" },         { "ppc64le", "linux/ppc64le" },
    { "s390x", "linux/s390x" },   { "riscv64", "linux/riscv64" },
  };
  struct utsname name;

  for (gsize i = 0; uname (&name) == 0 && i < G_N_ELEMENTS (known); i++)
    if (strcmp (name.machine, known[i].machine) == 0)
      return known[i].platform;
  return "linux/unknown";
}

const char *
oci_host_match (void)
{
#ifdef __x86_64__
  /* The levels of the x86-64 psABI. */
  if (strcmp (oci_host_platform (), "linux/amd64") == 0)
    {
      __builtin_cpu_init ();
      if (!__builtin_cpu_supports ("sse4.2") || !__builtin_cpu_supports ("popcnt"))
        return oci_host_platform ();
      if (!__builtin_cpu_supports ("avx2") || !__builtin_cpu_supports ("bmi2")
          || !__builtin_cpu_supports ("fma"))
        return "linux/amd64/v2";
      return __builtin_cpu_supports ("avx512bw") && __builtin_cpu_supports ("avx512vl") ? "linux/amd64/v4"
                                                                                        : "linux/amd64/v3";
    }
#endif
  return oci_host_platform ();
}

/* The number of a variant "v7"; without one, the usual of @architecture; -1: some other word. */
static int
variant_level (const char *architecture, const char *variant)
{
  guint64 level;

  if (variant == NULL || variant[0] == '\0')
    return strcmp (architecture, "arm64") == 0 ? 8 : strcmp (architecture, "arm") == 0 ? 7 : 1;
  if (variant[0] == 'v' && g_ascii_string_to_unsigned (variant + 1, 10, 0, BEST - 1, &level, NULL))
    return (int)level;
  return -1;
}

guint
oci_platform_score (const char *want, const char *have)
{
  g_auto (GStrv) w = g_strsplit (want, "/", 3);
  g_auto (GStrv) h = g_strsplit (have, "/", 3);
  int wanted, had;

  if (w[0] == NULL || h[0] == NULL || w[1] == NULL || h[1] == NULL || strcmp (w[0], h[0]) != 0
      || strcmp (w[1], h[1]) != 0)
    return 0;
  wanted = variant_level (w[1], w[2]);
  had = variant_level (h[1], h[2]);
  if (wanted < 0 || had < 0)
    return g_strcmp0 (w[2], h[2]) == 0 ? BEST : 0;
  return had <= wanted ? (guint)(BEST - (wanted - had)) : 0;
}

gboolean
oci_platform_matches (const char *want, const char *have)
{
  return oci_platform_score (want, have) > 0;
}

static GPtrArray *
read_manifests (JsonNode *index, GError **error)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  JsonArray *manifests
      = JSON_NODE_HOLDS_OBJECT (index) ? oci_array (json_node_get_object (index), "manifests") : NULL;

  if (manifests == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the index has no manifests");
      return NULL;
    }
  for (guint i = 0; i < json_array_get_length (manifests); i++)
    {
      JsonNode *element = json_array_get_element (manifests, i);
      GantryDescriptor *one
          = JSON_NODE_HOLDS_OBJECT (element) ? oci_descriptor (json_node_get_object (element), error) : NULL;

      if (one == NULL)
        {
          if (!JSON_NODE_HOLDS_OBJECT (element))
            gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                          "the index has an entry that is no descriptor");
          return NULL;
        }
      g_ptr_array_add (all, one);
    }
  return g_steal_pointer (&all);
}

static void
add_once (GPtrArray *chosen, GantryDescriptor *one)
{
  if (one != NULL && !g_ptr_array_find (chosen, one, NULL))
    g_ptr_array_add (chosen, gantry_descriptor_ref (one));
}

GPtrArray *
oci_select_manifests (JsonNode *index, const char *const *platforms, GError **error)
{
  g_autoptr (GPtrArray) all = read_manifests (index, error);
  GPtrArray *chosen;

  if (all == NULL || platforms == NULL)
    return g_steal_pointer (&all);
  chosen = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  for (gsize i = 0; platforms[i] != NULL; i++)
    {
      GantryDescriptor *best = NULL;
      guint best_score = 0;

      for (guint j = 0; j < all->len; j++)
        {
          GantryDescriptor *one = g_ptr_array_index (all, j);
          guint score = one->platform != NULL ? oci_platform_score (platforms[i], one->platform) : 0;

          if (score > best_score)
            {
              best = one;
              best_score = score;
            }
        }
      add_once (chosen, best);
    }
  for (guint j = 0; chosen->len == 0 && j < all->len; j++)
    {
      GantryDescriptor *one = g_ptr_array_index (all, j);

      if (one->platform == NULL)
        g_ptr_array_add (chosen, gantry_descriptor_ref (one));
    }
  return chosen;
}
