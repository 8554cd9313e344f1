/* SPDX-License-Identifier: MIT
 *
 * Values that several interfaces share
 * ------------------------------------
 * Times are nanoseconds since 1970 UTC in a gint64, sizes are bytes in a guint64, labels are GVariants of
 * type a{ss} (NULL: none), digests are "<algorithm>:<lower-case hex>" (OCI image-spec 1.1, descriptor.md,
 * "Digests").
 *
 * A *filter* is a string in containerd's filter language: comma-separated selectors that must all hold, each
 * `field`, `field==value`, `field!=value` or `field~=regex`, with values quoted where needed and fields such
 * as `name`, `labels."a.b/c"`; several filters are an OR; none matches everything.
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

/** The longest namespace, record id, snapshot key or ingest ref, in bytes. */
#define GANTRY_MAX_NAME 256
/** The longest label: key and value together, in bytes, as containerd has it. */
#define GANTRY_MAX_LABEL 4096

/** Takes @value (nullable) for a member that threads share: sinks it and makes it flat. A variant that was
 * built from parts drops them when somebody flattens it, which g_variant_lookup () does, and strings that
 * were borrowed from the parts dangle. Returns: (transfer full) (nullable). */
static inline GVariant *
gantry_variant_keep (GVariant *value)
{
  if (value == NULL)
    return NULL;
  g_variant_ref_sink (value);
  (void)g_variant_get_data (value);
  return value;
}

/** How to mount one file system, as in mount(8). Source of the format: containerd api/types/mount.proto. */
typedef struct
{
  GANTRY_VALUE;
  char *type;     /**< "overlay", "bind", … */
  char *source;   /**< "overlay" or a path */
  char *target;   /**< (nullable): a path below the mount point, for mounts that are stacked; NULL or "": the
                     point itself */
  char **options; /**< (nullable): NULL-terminated: "ro", "rbind", "lowerdir=…" */
} GantryMount;

static inline void
gantry_mount_clear (gpointer data)
{
  GantryMount *self = (GantryMount *)data;

  g_free (self->type);
  g_free (self->source);
  g_free (self->target);
  g_strfreev (self->options);
}

GANTRY_DEFINE_VALUE (GantryMount, gantry_mount)

/** Makes a mount; everything is copied. Returns: (transfer full). */
static inline GantryMount *
gantry_mount_new (const char *type, const char *source, const char *target, const char *const *options)
{
  GantryMount *self = GANTRY_VALUE_ALLOC (GantryMount, gantry_mount_clear);

  self->type = g_strdup (type);
  self->source = g_strdup (source);
  self->target = g_strdup (target);
  self->options = g_strdupv ((char **)options);
  return self;
}

/** @mounts (nullable: none) (element-type GantryMount) in words: aa{sv}, each "type" s, "source" s and, where
 * it has them, "target" s and "options" as. Returns: (transfer floating). */
static inline GVariant *
gantry_mount_list_to_variant (GPtrArray *mounts)
{
  GVariantBuilder builder;
  guint i;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (i = 0; mounts != NULL && i < mounts->len; i++)
    {
      GantryMount *mount = (GantryMount *)g_ptr_array_index (mounts, i);
      GVariantDict dict;

      g_variant_dict_init (&dict, NULL);
      g_variant_dict_insert (&dict, "type", "s", mount->type);
      g_variant_dict_insert (&dict, "source", "s", mount->source != NULL ? mount->source : "");
      if (mount->target != NULL)
        g_variant_dict_insert (&dict, "target", "s", mount->target);
      if (mount->options != NULL)
        g_variant_dict_insert (&dict, "options", "^as", mount->options);
      g_variant_builder_add_value (&builder, g_variant_dict_end (&dict));
    }
  return g_variant_builder_end (&builder);
}

/** What a blob is: OCI image-spec 1.1, descriptor.md. */
typedef struct
{
  GANTRY_VALUE;
  char *media_type;
  char *digest;
  guint64 blob_size;
  GVariant *annotations; /**< (nullable): a{ss} */
  char *platform;        /**< (nullable): "linux/arm64/v8" */
  char *artifact_type;   /**< (nullable) */
} GantryDescriptor;

static inline void
gantry_descriptor_clear (gpointer data)
{
  GantryDescriptor *self = (GantryDescriptor *)data;

  g_free (self->media_type);
  g_free (self->digest);
  g_clear_pointer (&self->annotations, g_variant_unref);
  g_free (self->platform);
  g_free (self->artifact_type);
}

GANTRY_DEFINE_VALUE (GantryDescriptor, gantry_descriptor)

/** Makes a descriptor; strings are copied, @annotations (nullable) is sunk. Returns: (transfer full). */
static inline GantryDescriptor *
gantry_descriptor_new (const char *media_type, const char *digest, guint64 blob_size, GVariant *annotations)
{
  GantryDescriptor *self = GANTRY_VALUE_ALLOC (GantryDescriptor, gantry_descriptor_clear);

  self->media_type = g_strdup (media_type);
  self->digest = g_strdup (digest);
  self->blob_size = blob_size;
  self->annotations = gantry_variant_keep (annotations);
  return self;
}

/** A typed message that Gantry stores and returns bit for bit (google.protobuf.Any): specs, options,
 * extensions. */
#define GANTRY_ANY_TYPE "(say)"

/** Makes (type URL, bytes). @value (nullable: empty). Returns: (transfer floating). */
static inline GVariant *
gantry_any_new (const char *type_url, GBytes *value)
{
  GVariant *bytes = value != NULL ? g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, value, TRUE)
                                  : g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, NULL, 0, 1);

  return g_variant_new ("(s@ay)", type_url, bytes);
}

/** The bytes of an any. Returns: (transfer full). */
static inline GBytes *
gantry_any_get_bytes (GVariant *any)
{
  GVariant *bytes = g_variant_get_child_value (any, 1);
  GBytes *ret = g_variant_get_data_as_bytes (bytes);

  g_variant_unref (bytes);
  return ret;
}

/** The type URL of an any. Returns: (transfer none). */
static inline const char *
gantry_any_get_type_url (GVariant *any)
{
  const char *url;

  g_variant_get_child (any, 0, "&s", &url);
  return url;
}

/** The value of the label @key in @labels (nullable). Returns: (transfer none) (nullable). */
static inline const char *
gantry_labels_lookup (GVariant *labels, const char *key)
{
  const char *value = NULL;

  return labels != NULL && g_variant_lookup (labels, key, "&s", &value) ? value : NULL;
}

/** Now, in nanoseconds since 1970 UTC. */
static inline gint64
gantry_now_ns (void)
{
  return g_get_real_time () * 1000;
}

G_END_DECLS
