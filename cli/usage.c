/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry image usage and image prune. */
#include "cli.h"

#include <string.h>

/* How many of @usages (of a{sv}) have each blob or snapshot. Returns: (transfer full): key -> count as
 * pointer. */
static GHashTable *
count_users (GPtrArray *usages)
{
  GHashTable *users = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < usages->len; i++)
    {
      g_autoptr (GVariant) blobs
          = g_variant_lookup_value (g_ptr_array_index (usages, i), "blobs", G_VARIANT_TYPE ("a(st)"));
      g_autoptr (GVariant) snapshots
          = g_variant_lookup_value (g_ptr_array_index (usages, i), "snapshots", G_VARIANT_TYPE ("a(sstt)"));
      GVariantIter iter;
      const char *id, *name;

      g_variant_iter_init (&iter, blobs);
      while (g_variant_iter_next (&iter, "(&st)", &name, NULL))
        g_hash_table_insert (users, g_strdup (name),
                             GINT_TO_POINTER (GPOINTER_TO_INT (g_hash_table_lookup (users, name)) + 1));
      g_variant_iter_init (&iter, snapshots);
      while (g_variant_iter_next (&iter, "(&s&stt)", &id, &name, NULL, NULL))
        {
          char *key = g_strconcat (id, "/", name, NULL);

          g_hash_table_insert (users, key,
                               GINT_TO_POINTER (GPOINTER_TO_INT (g_hash_table_lookup (users, key)) + 1));
        }
    }
  return users;
}

/* What would come back if only this image went. */
static guint64
own_bytes (GVariant *usage, GHashTable *users)
{
  g_autoptr (GVariant) blobs = g_variant_lookup_value (usage, "blobs", G_VARIANT_TYPE ("a(st)"));
  g_autoptr (GVariant) snapshots = g_variant_lookup_value (usage, "snapshots", G_VARIANT_TYPE ("a(sstt)"));
  GVariantIter iter;
  const char *id, *name;
  guint64 bytes, own = 0;

  g_variant_iter_init (&iter, blobs);
  while (g_variant_iter_next (&iter, "(&st)", &name, &bytes))
    own += GPOINTER_TO_INT (g_hash_table_lookup (users, name)) == 1 ? bytes : 0;
  g_variant_iter_init (&iter, snapshots);
  while (g_variant_iter_next (&iter, "(&s&stt)", &id, &name, &bytes, NULL))
    {
      g_autofree char *key = g_strconcat (id, "/", name, NULL);

      own += GPOINTER_TO_INT (g_hash_table_lookup (users, key)) == 1 ? bytes : 0;
    }
  return own;
}

static guint64
number (GVariant *usage, const char *key)
{
  guint64 value = 0;

  g_variant_lookup (usage, key, "t", &value);
  return value;
}

/* Returns: (transfer full): of a{sv}, in order of @images, or NULL after a message. */
static GPtrArray *
get_usages (GPtrArray *images)
{
  g_autoptr (GPtrArray) usages = g_ptr_array_new_with_free_func ((GDestroyNotify)g_variant_unref);

  for (guint i = 0; i < images->len; i++)
    {
      GError *error = NULL;
      GVariant *usage = gantry_image_get_usage (g_ptr_array_index (images, i), NULL, &error);

      if (usage == NULL)
        {
          cli_fail_error (error);
          return NULL;
        }
      g_ptr_array_add (usages, usage);
    }
  return g_steal_pointer (&usages);
}

static void
print_usages (GPtrArray *images, GPtrArray *usages)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GHashTable) users = count_users (usages);
  GVariantBuilder all;

  cli_add_row (rows, "IMAGE\tBLOBS\tUNPACKED\tOWN");
  g_variant_builder_init (&all, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < images->len; i++)
    {
      GVariant *usage = g_ptr_array_index (usages, i);
      const char *name = cli_string (gantry_image_get_info (g_ptr_array_index (images, i)), "name");
      guint64 own = own_bytes (usage, users);
      g_autofree char *blobs = g_format_size (number (usage, "blob-bytes"));
      g_autofree char *unpacked = g_format_size (number (usage, "snapshot-bytes")),
                      *alone = g_format_size (own);
      GVariantDict dict;

      cli_add_row (rows, "%s\t%s\t%s\t%s", name, blobs, unpacked, alone);
      g_variant_dict_init (&dict, usage);
      g_variant_dict_insert (&dict, "name", "s", name);
      g_variant_dict_insert (&dict, "own-bytes", "t", own);
      g_variant_builder_add_value (&all, g_variant_dict_end (&dict));
    }
  if (cli.json)
    cli_print_json (g_variant_builder_end (&all));
  else
    {
      g_variant_builder_clear (&all);
      cli_print_table (rows);
    }
}

int
cli_image_usage (int argc, char **argv)
{
  g_autoptr (GPtrArray) images = NULL, usages = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image usage", "",
                  "What images take on disk: their blobs, their unpacked layers, and what of both no other "
                  "image has.",
                  NULL, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL)
    return 1;
  images = gantry_namespace_list_images (cli_namespace (), NULL, NULL, &error);
  if (images == NULL)
    return cli_fail_error (error);
  usages = get_usages (images);
  if (usages == NULL)
    return 1;
  print_usages (images, usages);
  return 0;
}

/* The names of images that containers were made of. Returns: (transfer full), or NULL after a message. */
static GHashTable *
used_images (void)
{
  GError *error = NULL;
  g_autoptr (GPtrArray) containers = gantry_namespace_list_containers (cli_namespace (), NULL, NULL, &error);
  GHashTable *used;

  if (containers == NULL)
    {
      cli_fail_error (error);
      return NULL;
    }
  used = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < containers->len; i++)
    g_hash_table_add (used,
                      g_strdup (cli_string (gantry_container_get_info (g_ptr_array_index (containers, i)),
                                            "image")));
  return used;
}

int
cli_image_prune (int argc, char **argv)
{
  gboolean all = FALSE, dry_run = FALSE;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[]
      = { { "all", 'a', 0, G_OPTION_ARG_NONE, &all,
            "Every image that no container uses, not only those without a tag", NULL },
          { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters, "Only those that match, as name~=busybox",
            "FILTER" },
          { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only say which", NULL },
          { NULL } };
  g_autoptr (GPtrArray) images = NULL;
  g_autoptr (GHashTable) used = NULL;
  GError *error = NULL;
  int status = 0;

  if (!cli_parse (&argc, &argv, "image prune", "",
                  "Forgets images that no container uses, and prints their names.", entries, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL || (used = used_images ()) == NULL)
    return 1;
  images = gantry_namespace_list_images (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (images == NULL)
    return cli_fail_error (error);
  for (guint i = 0; i < images->len; i++)
    {
      GantryImage *image = g_ptr_array_index (images, i);
      const char *name = cli_string (gantry_image_get_info (image), "name");

      if (g_hash_table_contains (used, name) || (!all && strchr (name, '@') == NULL))
        continue;
      if (!dry_run && !gantry_image_remove (image, NULL, &error))
        {
          status |= cli_fail_error (g_steal_pointer (&error));
          continue;
        }
      g_print ("%s\n", name);
    }
  return status;
}
