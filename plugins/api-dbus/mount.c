/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Mount, and the mounts of a namespace. */
#include "api-dbus.h"

#define MAX_LISTED 20000
#define ROOT_LABEL "containerd.io/gc.root"
#define GC_LABELS  "containerd.io/gc."

static GantryMounts *
find_service (ApiDbus *self)
{
  return gantry_host_lookup (self->host, GANTRY_MOUNTS_TYPE, NULL, NULL);
}

static GantryMounts *
get_service (Call *call, GError **error)
{
  GantryMounts *service = find_service (call->self);

  if (service == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                  "there is no mounts service; see `gantry plugin list`");
  return service;
}

/* Returns: (transfer full). */
static GantryRecord *
to_record (GantryActivation *activation)
{
  GantryRecord *record;
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert_value (&fields, "active", gantry_activation_describe (activation, TRUE));
  g_variant_dict_insert_value (&fields, "system", gantry_activation_describe (activation, FALSE));
  record = gantry_record_new (GANTRY_KIND_MOUNT, NULL, activation->name, activation->labels,
                              g_variant_dict_end (&fields));
  /* One of an older module says less. */
  if (activation->size > G_STRUCT_OFFSET (GantryActivation, updated_ns))
    {
      record->ns = g_strdup (activation->ns);
      record->created_ns = activation->created_ns;
      record->updated_ns = activation->updated_ns;
    }
  return record;
}

/* Says how long it is to stay if the caller does not: here, there is nobody else whose it could be. Returns:
 * (transfer floating). */
static GVariant *
held_labels (GVariant *given)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;
  gboolean held = FALSE;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  if (given != NULL)
    {
      g_variant_iter_init (&iter, given);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        {
          held |= g_str_has_prefix (key, GC_LABELS);
          g_variant_builder_add (&builder, "{ss}", key, value);
        }
    }
  if (!held)
    {
      g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
      g_autofree char *text = g_date_time_format_iso8601 (now);

      g_variant_builder_add (&builder, "{ss}", ROOT_LABEL, text);
    }
  return g_variant_builder_end (&builder);
}

gboolean
activate_mounts (Call *call, GVariant **ret_reply, GError **error)
{
  GantryMounts *service = get_service (call, error);
  g_autoptr (GVariant) list = NULL, options = NULL, labels = NULL, lease = NULL, temporary = NULL;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GantryActivation) activation = NULL;
  g_autofree char *path = NULL;
  GVariantDict dict, known;
  const char *name;
  gboolean ok;

  g_variant_get (call->parameters, "(&s@aa{sv}@a{sv})", &name, &list, &options);
  if (service == NULL || (mounts = take_mounts (list, error)) == NULL)
    return FALSE;
  g_variant_dict_init (&dict, options);
  labels = take_option (&dict, "labels", "a{ss}");
  lease = take_option (&dict, "lease", "s");
  temporary = take_option (&dict, "temporary", "b");
  ok = options_are_empty (&dict, call->method, error);
  g_variant_dict_clear (&dict);
  if (!ok)
    return FALSE;
  g_variant_dict_init (&known, NULL);
  if (lease != NULL)
    g_variant_dict_insert_value (&known, "lease", lease);
  if (temporary != NULL)
    g_variant_dict_insert_value (&known, "temporary", temporary);
  if (lease == NULL)
    g_variant_dict_insert_value (&known, "labels", held_labels (labels));
  else if (labels != NULL)
    g_variant_dict_insert_value (&known, "labels", labels);
  if (!gantry_mounts_activate (service, call->ns, name, mounts, g_variant_dict_end (&known), &activation,
                               NULL, error))
    return FALSE;
  path = path_mount (call->ns, name);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

/* Returns: (transfer floating): a{sv}. */
static GVariant *
describe (GantryActivation *activation, const char *ns)
{
  g_autofree char *path = path_mount (ns, activation->name);
  g_autoptr (GantryRecord) record = to_record (activation);
  GVariantDict dict;

  g_variant_dict_init (&dict, record->fields);
  g_variant_dict_insert (&dict, "path", "o", path);
  g_variant_dict_insert (&dict, "name", "s", activation->name);
  if (activation->labels != NULL)
    g_variant_dict_insert_value (&dict, "labels", activation->labels);
  g_variant_dict_insert (&dict, "created", "x", record->created_ns);
  g_variant_dict_insert (&dict, "updated", "x", record->updated_ns);
  return g_variant_dict_end (&dict);
}

typedef struct
{
  const char *ns;
  GVariantBuilder *list;
  guint n;
} Listing;

static gboolean
add_listed (GantryActivation *activation, gpointer user_data)
{
  Listing *listing = user_data;

  if (++listing->n > MAX_LISTED)
    return FALSE;
  g_variant_builder_add_value (listing->list, describe (activation, listing->ns));
  return TRUE;
}

gboolean
list_mounts (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));
  GantryMounts *service = get_service (call, error);
  Listing listing = { call->ns, &list, 0 };
  g_autoptr (GVariant) options = NULL, given = NULL;
  g_autofree const char **filters = NULL;
  GVariantDict dict;
  gboolean known;

  g_variant_get (call->parameters, "(@a{sv})", &options);
  g_variant_dict_init (&dict, options);
  given = take_option (&dict, "filters", "as");
  known = options_are_empty (&dict, call->method, error);
  g_variant_dict_clear (&dict);
  if (service == NULL || !known)
    return FALSE;
  filters = given != NULL ? g_variant_get_strv (given, NULL) : NULL;
  if (!gantry_mounts_list (service, call->ns, filters, add_listed, &listing, NULL, error))
    return FALSE;
  if (listing.n > MAX_LISTED)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are more than %d; give filters",
                         MAX_LISTED);
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

gboolean
get_mount (Call *call, GVariant **ret_reply, GError **error)
{
  g_autofree char *path = NULL;
  const char *name;

  g_variant_get (call->parameters, "(&s)", &name);
  if (name[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "mounts must have a name");
  path = path_mount (call->ns, name);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

GantryRecord *
mount_to_record (Call *call, GError **error)
{
  GantryMounts *service = get_service (call, error);
  g_autoptr (GantryActivation) activation = NULL;

  return service != NULL && gantry_mounts_get (service, call->ns, call->id, &activation, NULL, error)
             ? to_record (activation)
             : NULL;
}

typedef struct
{
  GantryRecordFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_activation (GantryActivation *activation, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantryRecord) record = to_record (activation);

  return record->ns == NULL || walk->func (record, walk->user_data);
}

gboolean
mounts_walk (ApiDbus *self, GantryRecordFunc func, gpointer user_data, GError **error)
{
  GantryMounts *service = find_service (self);
  Walk walk = { func, user_data };

  return service == NULL || gantry_mounts_list (service, NULL, NULL, on_activation, &walk, NULL, error);
}

static gboolean
inspect (Call *call, GVariant **ret_reply, GError **error)
{
  GantryMounts *service = get_service (call, error);
  g_autoptr (GantryActivation) activation = NULL;

  if (service == NULL || !gantry_mounts_get (service, call->ns, call->id, &activation, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", describe (activation, call->ns));
  return TRUE;
}

static gboolean
set_mount_labels (Call *call, GVariant **ret_reply, GError **error)
{
  GantryMounts *service = get_service (call, error);
  g_auto (GStrv) mask = NULL;
  GVariant *labels;

  if (service == NULL)
    return FALSE;
  take_labels (call, &labels, &mask);
  return gantry_mounts_update (service, call->ns, call->id, labels, (const char *const *)mask, NULL, NULL,
                               error);
}

static gboolean
deactivate (Call *call, GVariant **ret_reply, GError **error)
{
  GantryMounts *service = get_service (call, error);

  return service != NULL && gantry_mounts_deactivate (service, call->ns, call->id, NULL, error);
}

CallFunc
mount_find (const char *method)
{
  static const Method methods[]
      = { { "Inspect", inspect }, { "SetLabels", set_mount_labels }, { "Deactivate", deactivate } };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
