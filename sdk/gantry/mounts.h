/* SPDX-License-Identifier: MIT
 *
 * Mounts that the daemon keeps
 * ----------------------------
 * Some descriptions of a root file system can't be mounted as they are: a later mount is on what an earlier
 * one shows, an image file needs a loop device, a directory has to be made first. An *activation* is a list
 * of such mounts under a name: what the caller can't do is mounted below the daemon's own directory
 * (*active*), and what is left are mounts that whoever wants the file system makes (*system*).
 *
 *     activate ("pod-1", [ loop /images/a.ext4, format/ext4 {{ mount 0 }} ])
 *         -> active [ loop … at <state>/…/1 ], system [ ext4 /dev/loop0 ]
 *       … the caller mounts ext4 of /dev/loop0 …
 *     deactivate ("pod-1")
 *
 * The type of a mount may be preceded by *transforms*, separated by slashes, as containerd 2 has them
 * (core/mount/manager): format/   "{{ source N }}", "{{ target N }}", "{{ mount N }}" and "{{ overlay M N }}"
 * in source, target and options stand for that of the N-th mount before, or for the mount points from M to N
 * as overlay's lowerdir has them. mkdir/    options "X-containerd.mkdir.path=PATH[:MODE[:UID:GID]]": the
 * directory PATH, in what is mounted here or in the daemon's
 *               --root, is made.
 * An activation is garbage unless a lease holds it or its labels name something that lives
 * ("containerd.io/gc.bref.container", …) or that it is a root ("containerd.io/gc.root"). It does not outlive
 * the boot. One is announced (/mounts/create) when it is whole, and is not there for get and list before.
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_MOUNTS_TYPE "org.gantry.mounts.v1"

/** One that is mounted. */
typedef struct
{
  GANTRY_VALUE;
  GantryMount *mount;
  char *mount_point;
  gint64 mounted_ns;
} GantryActiveMount;

static inline void
gantry_active_mount_clear (gpointer data)
{
  GantryActiveMount *self = (GantryActiveMount *)data;

  gantry_mount_unref (self->mount);
  g_free (self->mount_point);
}

GANTRY_DEFINE_VALUE (GantryActiveMount, gantry_active_mount)

/** Makes one; a reference to @mount is taken. Returns: (transfer full). */
static inline GantryActiveMount *
gantry_active_mount_new (GantryMount *mount, const char *mount_point, gint64 mounted_ns)
{
  GantryActiveMount *self = GANTRY_VALUE_ALLOC (GantryActiveMount, gantry_active_mount_clear);

  self->mount = gantry_mount_ref (mount);
  self->mount_point = g_strdup (mount_point);
  self->mounted_ns = mounted_ns;
  return self;
}

typedef struct
{
  GANTRY_VALUE;
  char *name;
  GPtrArray *active; /**< (element-type GantryActiveMount) */
  GPtrArray *system; /**< (element-type GantryMount) */
  GVariant *labels;  /**< (nullable): a{ss} */
  char *ns;          /**< (nullable): its namespace, where activate, get, update and list tell it */
  gint64 created_ns; /**< when it was made; 0: not told */
  gint64 updated_ns; /**< when it last changed; 0: not told */
} GantryActivation;

static inline void
gantry_activation_clear (gpointer data)
{
  GantryActivation *self = (GantryActivation *)data;

  g_free (self->name);
  g_clear_pointer (&self->active, g_ptr_array_unref);
  g_clear_pointer (&self->system, g_ptr_array_unref);
  g_clear_pointer (&self->labels, g_variant_unref);
  g_free (self->ns);
}

GANTRY_DEFINE_VALUE (GantryActivation, gantry_activation)

/** Makes one with two empty lists; @labels (nullable) is sunk. Returns: (transfer full). */
static inline GantryActivation *
gantry_activation_new (const char *name, GVariant *labels)
{
  GantryActivation *self = GANTRY_VALUE_ALLOC (GantryActivation, gantry_activation_clear);

  self->name = g_strdup (name);
  self->active = g_ptr_array_new_with_free_func (gantry_value_unref);
  self->system = g_ptr_array_new_with_free_func (gantry_value_unref);
  self->labels = gantry_variant_keep (labels);
  return self;
}

/** The mounts of @self in words: @active as gantry_mount_list_to_variant () has them, with "mount-point" s
 * and "mounted-at" x (ns), or those that are left. Returns: (transfer floating): aa{sv}. */
static inline GVariant *
gantry_activation_describe (GantryActivation *self, gboolean active)
{
  GVariantBuilder builder;
  guint i;

  if (!active)
    return gantry_mount_list_to_variant (self->system);
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (i = 0; i < self->active->len; i++)
    {
      GantryActiveMount *one = (GantryActiveMount *)g_ptr_array_index (self->active, i);
      GVariantDict dict;

      g_variant_dict_init (&dict, NULL);
      g_variant_dict_insert (&dict, "type", "s", one->mount->type);
      g_variant_dict_insert (&dict, "source", "s", one->mount->source != NULL ? one->mount->source : "");
      if (one->mount->options != NULL)
        g_variant_dict_insert (&dict, "options", "^as", one->mount->options);
      g_variant_dict_insert (&dict, "mount-point", "s", one->mount_point);
      g_variant_dict_insert (&dict, "mounted-at", "x", one->mounted_ns);
      g_variant_builder_add_value (&builder, g_variant_dict_end (&dict));
    }
  return g_variant_builder_end (&builder);
}

/** Called for each activation, with no lock held. Returns: FALSE to stop (a success). */
typedef gboolean (*GantryActivationFunc) (GantryActivation *activation, gpointer user_data);

typedef struct _GantryMounts GantryMounts;

typedef struct
{
  size_t size;

  /** Mounts of @mounts (element-type GantryMount) what the caller can't. @options: (nullable): a{sv}, sunk if
   * floating: "labels" a{ss}, "lease" s (that holds it), "temporary" b (everything is mounted, and one bind
   * mount shows it). *@ret_activation: (transfer full). After a failure or a crash nothing is mounted.
   * Blocks: on local I/O and the kernel. Errors: NOT_IMPLEMENTED (nothing of it needs us: mount it yourself;
   * or a transform that is not known, by name), ALREADY_EXISTS, INVALID_ARGUMENT (name, reference, option;
   * says which), NOT_FOUND (a source), of the kernel. Since: 1.0 */
  gboolean (*activate) (GantryMounts *self, const char *ns, const char *name, GPtrArray *mounts,
                        GVariant *options, GantryActivation **ret_activation, GCancellable *cancellable,
                        GError **error);

  /** Unmounts it and forgets it. Blocks: on the kernel. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*deactivate) (GantryMounts *self, const char *ns, const char *name, GCancellable *cancellable,
                          GError **error);

  /** *@ret_activation: (transfer full). Blocks: on local metadata. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*get) (GantryMounts *self, const char *ns, const char *name, GantryActivation **ret_activation,
                   GCancellable *cancellable, GError **error);

  /** Sets labels: those in @mask ("labels", "labels.<key>"), all if it is NULL. *@ret_activation: (optional)
   * (transfer full). Blocks: one durable write. Errors: NOT_FOUND, INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*update) (GantryMounts *self, const char *ns, const char *name, GVariant *labels,
                      const char *const *mask, GantryActivation **ret_activation, GCancellable *cancellable,
                      GError **error);

  /** Calls @func for every activation of @ns (NULL: of all) that matches @filters (nullable; fields: name,
   * labels). Blocks: on local metadata. Errors: INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*list) (GantryMounts *self, const char *ns, const char *const *filters, GantryActivationFunc func,
                    gpointer user_data, GCancellable *cancellable, GError **error);

  /** Unmounts what belonged to an activation that garbage collection erased. @backend: the record's field of
   * that name. Blocks: on the kernel. Errors: of it. Since: 1.0 */
  gboolean (*collect) (GantryMounts *self, const char *backend, GCancellable *cancellable, GError **error);
} GantryMountsVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryMounts
{
  const GantryMountsVtable *vtable;
};

static inline gboolean
gantry_mounts_activate (GantryMounts *self, const char *ns, const char *name, GPtrArray *mounts,
                        GVariant *options, GantryActivation **ret_activation, GCancellable *cancellable,
                        GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, activate, FALSE);
  return self->vtable->activate (self, ns, name, mounts, options, ret_activation, cancellable, error);
}

static inline gboolean
gantry_mounts_deactivate (GantryMounts *self, const char *ns, const char *name, GCancellable *cancellable,
                          GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, deactivate, FALSE);
  return self->vtable->deactivate (self, ns, name, cancellable, error);
}

static inline gboolean
gantry_mounts_get (GantryMounts *self, const char *ns, const char *name, GantryActivation **ret_activation,
                   GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, get, FALSE);
  return self->vtable->get (self, ns, name, ret_activation, cancellable, error);
}

static inline gboolean
gantry_mounts_update (GantryMounts *self, const char *ns, const char *name, GVariant *labels,
                      const char *const *mask, GantryActivation **ret_activation, GCancellable *cancellable,
                      GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, update, FALSE);
  return self->vtable->update (self, ns, name, labels, mask, ret_activation, cancellable, error);
}

static inline gboolean
gantry_mounts_list (GantryMounts *self, const char *ns, const char *const *filters, GantryActivationFunc func,
                    gpointer user_data, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, list, FALSE);
  return self->vtable->list (self, ns, filters, func, user_data, cancellable, error);
}

static inline gboolean
gantry_mounts_collect (GantryMounts *self, const char *backend, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMountsVtable, collect, FALSE);
  return self->vtable->collect (self, backend, cancellable, error);
}

G_END_DECLS
