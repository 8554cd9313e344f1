/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Activations: a record (kind "mount") and a directory <state>/mounts-local/<backend>/<000…>. The record
 * comes before the first mount, with the state "activating", and goes before the last unmount, so that a
 * crash leaves nothing without a name: what is not "active", or of another boot, goes at the next start. */
#include "mounts-local.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>
#include <filter.h>

#define BOOT_ID        "/proc/sys/kernel/random/boot_id"
#define MAX_NAME_BYTES 512
#define MOUNT_TYPE     "(sssas)"

static GVariant *
mount_to_variant (GantryMount *mount)
{
  static const char *const none[] = { NULL };

  return g_variant_new ("(sss^as)", mount->type, mount->source != NULL ? mount->source : "",
                        mount->target != NULL ? mount->target : "",
                        mount->options != NULL ? (const char *const *)mount->options : none);
}

static GantryMount *
mount_from_variant (GVariant *variant)
{
  const char *type, *source, *target;
  g_autofree const char **options = NULL;

  g_variant_get (variant, "(&s&s&s^a&s)", &type, &source, &target, &options);
  return gantry_mount_new (type, source, target[0] != '\0' ? target : NULL, options);
}

static GVariant *
fields_of (MountsLocal *self, const char *backend, GantryActivation *activation)
{
  GVariantBuilder active, system;
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "backend", "s", backend);
  g_variant_dict_insert (&dict, "boot", "s", self->boot);
  g_variant_dict_insert (&dict, "state", "s", activation != NULL ? "active" : "activating");
  if (activation == NULL)
    return g_variant_dict_end (&dict);
  g_variant_builder_init (&active, G_VARIANT_TYPE ("a(" MOUNT_TYPE "sx)"));
  for (guint i = 0; i < activation->active->len; i++)
    {
      GantryActiveMount *one = g_ptr_array_index (activation->active, i);

      g_variant_builder_add (&active, "(@" MOUNT_TYPE "sx)", mount_to_variant (one->mount), one->mount_point,
                             one->mounted_ns);
    }
  g_variant_builder_init (&system, G_VARIANT_TYPE ("a" MOUNT_TYPE));
  for (guint i = 0; i < activation->system->len; i++)
    g_variant_builder_add_value (&system, mount_to_variant (g_ptr_array_index (activation->system, i)));
  g_variant_dict_insert_value (&dict, "active", g_variant_builder_end (&active));
  g_variant_dict_insert_value (&dict, "system", g_variant_builder_end (&system));
  return g_variant_dict_end (&dict);
}

static GantryActivation *
activation_from_record (GantryRecord *record)
{
  g_autoptr (GVariant) active
      = gantry_record_get_field (record, "active", G_VARIANT_TYPE ("a(" MOUNT_TYPE "sx)"));
  g_autoptr (GVariant) system = gantry_record_get_field (record, "system", G_VARIANT_TYPE ("a" MOUNT_TYPE));
  GantryActivation *activation = gantry_activation_new (record->id, record->labels);

  activation->ns = g_strdup (record->ns);
  activation->created_ns = record->created_ns;
  activation->updated_ns = record->updated_ns;
  for (gsize i = 0; active != NULL && i < g_variant_n_children (active); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (active, i),
                           inner = g_variant_get_child_value (one, 0);
      g_autoptr (GantryMount) mount = mount_from_variant (inner);
      const char *point;
      gint64 at;

      g_variant_get_child (one, 1, "&s", &point);
      g_variant_get_child (one, 2, "x", &at);
      g_ptr_array_add (activation->active, gantry_active_mount_new (mount, point, at));
    }
  for (gsize i = 0; system != NULL && i < g_variant_n_children (system); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (system, i);

      g_ptr_array_add (activation->system, mount_from_variant (one));
    }
  return activation;
}

/* One caller a name at a time. Returns: (transfer full): for leave (). */
static char *
enter (MountsLocal *self, const char *ns, const char *name)
{
  char *key = g_strconcat (ns, "/", name, NULL);

  g_mutex_lock (&self->lock);
  while (!g_hash_table_add (self->busy, g_strdup (key)))
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  return key;
}

static void
leave (MountsLocal *self, char *key)
{
  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->busy, key);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  g_free (key);
}

static gboolean
check_name (const char *name, GError **error)
{
  return (name != NULL && name[0] != '\0' && strlen (name) <= MAX_NAME_BYTES
          && g_utf8_validate (name, -1, NULL))
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                          "an activation's name has 1 to %d bytes of UTF-8: invalid argument",
                          MAX_NAME_BYTES);
}

/* Mounts what is ours of @mounts, in order. */
static gboolean
perform (MountsLocal *self, const char *backend, GPtrArray *mounts, guint n_ours,
         GantryActivation *activation, GError **error)
{
  g_autofree char *directory = g_build_filename (self->path, backend, NULL);

  if (mkdirat (self->fd, backend, 0700) < 0)
    return gantry_throw_errno (error, errno, "making %s", directory);
  for (guint i = 0; i < mounts->len; i++)
    {
      g_autoptr (GantryMount) mount = NULL;
      g_autofree char *path = g_strdup_printf ("%s/%03u", directory, i);

      /* The first that is left may have a reference to ours; those behind it may not have any, or it would be
       * ours, too. */
      mount = plan_transform (self, g_ptr_array_index (mounts, i), activation->active, error);
      if (mount == NULL || (i < n_ours && !attach_mount (mount, path, error)))
        return FALSE;
      if (i < n_ours)
        g_ptr_array_add (activation->active, gantry_active_mount_new (mount, path, gantry_now_ns ()));
      else
        g_ptr_array_add (activation->system, g_steal_pointer (&mount));
    }
  return TRUE;
}

static void
add_bind (GantryActivation *activation)
{
  static const char *const options[] = { "rbind", NULL };
  GantryActiveMount *last = g_ptr_array_index (activation->active, activation->active->len - 1);

  g_ptr_array_add (activation->system, gantry_mount_new ("bind", last->mount_point, NULL, options));
}

/* @topic: (nullable): of the event; NULL: the usual one; "": there is none. Returns: (transfer full). */
static GantryChange *
change_new (GantryChangeKind kind, const char *ns, const char *name, GVariant *labels, GVariant *fields,
            const char *topic)
{
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_MOUNT, ns, name, labels, fields);
  GantryChange *change = gantry_change_new (kind, record);

  change->topic = g_strdup (topic);
  return change;
}

/* The record before anything is mounted: nobody is told of it. */
static gboolean
record_intent (MountsLocal *self, const char *ns, const char *name, const char *backend, GVariant *labels,
               const char *lease, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryChange) change
      = change_new (GANTRY_CHANGE_CREATE, ns, name, labels, fields_of (self, backend, NULL), "");

  change->lease = g_strdup (lease);
  return gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error);
}

static GVariant *
payload_of (GantryActivation *activation)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "name", "s", activation->name);
  if (activation->labels != NULL)
    g_variant_dict_insert_value (&dict, "labels", activation->labels);
  g_variant_dict_insert_value (&dict, "active", gantry_activation_describe (activation, TRUE));
  g_variant_dict_insert_value (&dict, "system", gantry_activation_describe (activation, FALSE));
  return g_variant_dict_end (&dict);
}

/* The record of what is mounted, from which on it is there for everybody. */
static gboolean
record_active (MountsLocal *self, const char *ns, const char *backend, GantryActivation *activation,
               GCancellable *cancellable, GError **error)
{
  static const char *const mask[] = { "fields", NULL };
  g_autoptr (GantryChange) change = change_new (GANTRY_CHANGE_UPDATE, ns, activation->name, NULL,
                                                fields_of (self, backend, activation), "/mounts/create");
  g_autoptr (GantryRecord) record = NULL;

  change->mask = g_strdupv ((char **)mask);
  change->payload = g_variant_ref_sink (payload_of (activation));
  if (!gantry_metadata_apply_one (self->metadata, change, &record, cancellable, error))
    return FALSE;
  activation->ns = g_strdup (ns);
  activation->created_ns = record->created_ns;
  activation->updated_ns = record->updated_ns;
  return TRUE;
}

/* @announced: somebody was told of it. */
static gboolean
forget_record (MountsLocal *self, const char *ns, const char *name, gboolean announced,
               GantryRecord **ret_record, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryChange) change
      = change_new (GANTRY_CHANGE_DELETE, ns, name, NULL, NULL, announced ? NULL : "");

  return gantry_metadata_apply_one (self->metadata, change, ret_record, cancellable, error);
}

static gboolean
is_active (GantryRecord *record)
{
  return g_strcmp0 (gantry_record_get_string (record, "state"), "active") == 0;
}

static void
undo (MountsLocal *self, const char *backend)
{
  g_autoptr (GError) error = NULL;

  if (!attach_undo (self->fd, self->path, backend, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "mounts %s stay until the next start: %s", backend,
                     error->message);
}

static gboolean
activate_named (MountsLocal *self, const char *ns, const char *name, GPtrArray *mounts, GVariant *options,
                GantryActivation **ret_activation, GCancellable *cancellable, GError **error)
{
  g_autofree char *backend = g_strdup_printf ("%" G_GINT64_MODIFIER "x.%x", self->started_ns,
                                              (unsigned)g_atomic_int_add (&self->serial, 1));
  g_autoptr (GVariant) labels = g_variant_lookup_value (options, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GantryActivation) activation = gantry_activation_new (name, labels);
  gboolean temporary = FALSE, ok;
  const char *lease = NULL;
  Plan plan;

  g_variant_lookup (options, "temporary", "b", &temporary);
  g_variant_lookup (options, "lease", "&s", &lease);
  if (!plan_make (mounts, temporary, &plan, error)
      || !record_intent (self, ns, name, backend, labels, lease, cancellable, error))
    return FALSE;
  ok = perform (self, backend, mounts, plan.n_ours, activation, error);
  if (ok && temporary)
    add_bind (activation);
  if (!ok || !record_active (self, ns, backend, activation, cancellable, error))
    {
      undo (self, backend);
      forget_record (self, ns, name, FALSE, NULL, NULL, NULL);
      return FALSE;
    }
  *ret_activation = g_steal_pointer (&activation);
  return TRUE;
}

static gboolean
local_activate (GantryMounts *mounts, const char *ns, const char *name, GPtrArray *list, GVariant *options,
                GantryActivation **ret_activation, GCancellable *cancellable, GError **error)
{
  MountsLocal *self = (MountsLocal *)mounts;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  gboolean ok;
  char *key;

  if (!check_name (name, error))
    return FALSE;
  key = enter (self, ns, name);
  ok = activate_named (self, ns, name, list, held, ret_activation, cancellable, error);
  leave (self, key);
  return ok;
}

static gboolean
local_deactivate (GantryMounts *mounts, const char *ns, const char *name, GCancellable *cancellable,
                  GError **error)
{
  MountsLocal *self = (MountsLocal *)mounts;
  char *key = enter (self, ns, name);
  g_autoptr (GantryRecord) record = NULL;
  gboolean ok = forget_record (self, ns, name, TRUE, &record, cancellable, error);

  if (ok)
    undo (self, gantry_record_get_string (record, "backend"));
  leave (self, key);
  return ok;
}

static gboolean
local_get (GantryMounts *mounts, const char *ns, const char *name, GantryActivation **ret_activation,
           GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;

  if (!gantry_metadata_get (((MountsLocal *)mounts)->metadata, GANTRY_KIND_MOUNT, ns, name, &record,
                            cancellable, error))
    return FALSE;
  if (!is_active (record))
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "mount \"%s\": not found", name);
  *ret_activation = activation_from_record (record);
  return TRUE;
}

static gboolean
local_update (GantryMounts *mounts, const char *ns, const char *name, GVariant *labels,
              const char *const *mask, GantryActivation **ret_activation, GCancellable *cancellable,
              GError **error)
{
  static const char *const all[] = { "labels", NULL };
  MountsLocal *self = (MountsLocal *)mounts;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GantryRecord) record = NULL;
  gboolean ok;
  char *key;

  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], "labels") != 0 && !g_str_has_prefix (mask[i], "labels."))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "cannot update \"%s\" field on mount \"%s\": invalid argument", mask[i], name);
  change = change_new (GANTRY_CHANGE_UPDATE, ns, name, held, NULL, NULL);
  change->mask = g_strdupv ((char **)(mask != NULL && mask[0] != NULL ? mask : all));
  key = enter (self, ns, name);
  ok = gantry_metadata_apply_one (self->metadata, change, &record, cancellable, error);
  leave (self, key);
  if (!ok)
    return FALSE;
  if (ret_activation != NULL)
    *ret_activation = activation_from_record (record);
  return TRUE;
}

typedef struct
{
  GantryActivationFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_record (GantryRecord *record, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantryActivation) activation = is_active (record) ? activation_from_record (record) : NULL;

  return activation == NULL || walk->func (activation, walk->user_data);
}

static gboolean
local_list (GantryMounts *mounts, const char *ns, const char *const *filters, GantryActivationFunc func,
            gpointer user_data, GCancellable *cancellable, GError **error)
{
  Walk walk = { func, user_data };

  return gantry_metadata_list (((MountsLocal *)mounts)->metadata, GANTRY_KIND_MOUNT, ns, filters, NULL, 0,
                               on_record, &walk, cancellable, error);
}

static gboolean
local_collect (GantryMounts *mounts, const char *backend, GCancellable *cancellable, GError **error)
{
  MountsLocal *self = (MountsLocal *)mounts;

  if (strchr (backend, '/') != NULL || backend[0] == '.')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" names no mounts", backend);
  return attach_undo (self->fd, self->path, backend, error);
}

static const GantryMountsVtable vtable = {
  .size = sizeof (GantryMountsVtable),
  .activate = local_activate,
  .deactivate = local_deactivate,
  .get = local_get,
  .update = local_update,
  .list = local_list,
  .collect = local_collect,
};

static gboolean
keep_record (GantryRecord *record, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_record_ref (record));
  return TRUE;
}

/* Takes away what a crash or a boot has left. */
static gboolean
recover (MountsLocal *self, GError **error)
{
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
  g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);
  struct dirent *entry;
  DIR *dir;
  int fd;

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_MOUNT, NULL, NULL, NULL, 0, keep_record, records,
                             NULL, error))
    return FALSE;
  for (guint i = 0; i < records->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (records, i);

      if (is_active (record) && g_strcmp0 (gantry_record_get_string (record, "boot"), self->boot) == 0)
        g_hash_table_add (known, (gpointer)gantry_record_get_string (record, "backend"));
      else if (!forget_record (self, record->ns, record->id, is_active (record), NULL, NULL, error))
        return FALSE;
    }
  fd = openat (self->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dir = fd >= 0 ? fdopendir (fd) : NULL;
  while (dir != NULL && (entry = readdir (dir)) != NULL)
    if (entry->d_name[0] != '.' && !g_hash_table_contains (known, entry->d_name))
      undo (self, entry->d_name);
  if (dir != NULL)
    closedir (dir);
  return TRUE;
}

/* Returns: (transfer full), or NULL. */
static char *
read_boot (GError **error)
{
  gantry_autofd int fd = open (BOOT_ID, O_RDONLY | O_CLOEXEC);
  g_autoptr (GBytes) text = fd >= 0 ? gantry_read_all (fd, 64, error) : NULL;

  if (fd < 0)
    gantry_throw_errno (error, errno, "opening " BOOT_ID);
  return text != NULL ? g_strchomp (g_strndup (g_bytes_get_data (text, NULL), g_bytes_get_size (text)))
                      : NULL;
}

void
mounts_local_free (MountsLocal *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->busy, g_hash_table_unref);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self->boot);
  g_free (self);
}

MountsLocal *
mounts_local_new (const GantryHost *host, GError **error)
{
  MountsLocal *self = g_new0 (MountsLocal, 1);

  self->mounts.vtable = &vtable;
  self->host = host;
  self->started_ns = gantry_now_ns ();
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->busy = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  self->fd = self->metadata != NULL ? gantry_host_get_dir_fd (host, GANTRY_DIR_RUN, error) : -1;
  self->path = self->fd >= 0 ? gantry_host_get_dir_path (host, GANTRY_DIR_RUN, error) : NULL;
  self->boot = self->path != NULL ? read_boot (error) : NULL;
  if (self->boot != NULL && recover (self, error))
    return self;
  mounts_local_free (self);
  return NULL;
}
