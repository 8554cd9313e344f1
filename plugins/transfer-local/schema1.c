/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "schema1.h"

#include <string.h>

/* The gzip of an empty tar that Docker wrote for steps that changed no file. */
#define EMPTY_BLOB "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

/* One step of the image, as a layer or not. */
typedef struct
{
  JsonNode *v1; /* its v1Compatibility */
  gboolean empty;
} Step;

struct _Schema1
{
  char *architecture; /* (nullable) */
  GPtrArray *steps;   /* of Step, the newest first */
  GPtrArray *blobs;   /* the oldest first; ends with NULL */
};

static void
step_free (gpointer data)
{
  Step *step = data;

  json_node_unref (step->v1);
  g_free (step);
}

void
schema1_free (Schema1 *self)
{
  if (self == NULL)
    return;
  g_free (self->architecture);
  g_ptr_array_unref (self->steps);
  g_ptr_array_unref (self->blobs);
  g_free (self);
}

static JsonObject *
element_object (JsonArray *array, guint index)
{
  JsonNode *node = json_array_get_element (array, index);

  return JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

static JsonNode *
read_v1 (JsonArray *history, guint index, GError **error)
{
  JsonObject *entry = element_object (history, index);
  const char *text = entry != NULL ? oci_string (entry, "v1Compatibility") : NULL;
  g_autoptr (JsonNode) node = text != NULL ? oci_parse (text, strlen (text), error) : NULL;

  if (node != NULL && JSON_NODE_HOLDS_OBJECT (node))
    return g_steal_pointer (&node);
  if (error != NULL && *error == NULL)
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has no v1Compatibility");
  g_prefix_error (error, "history %u of the manifest: ", index);
  return NULL;
}

/* Each step names the one below it; the lowest none. */
static gboolean
check_parents (Schema1 *self, GError **error)
{
  for (guint i = 0; i < self->steps->len; i++)
    {
      JsonObject *v1 = json_node_get_object (((Step *)g_ptr_array_index (self->steps, i))->v1);
      const char *parent = oci_string (v1, "parent"), *below = NULL;

      if (i + 1 < self->steps->len)
        below
            = oci_string (json_node_get_object (((Step *)g_ptr_array_index (self->steps, i + 1))->v1), "id");
      if (g_strcmp0 (parent != NULL ? parent : "", below != NULL ? below : "") != 0)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "history %u of the manifest has the parent \"%s\", but below it is \"%s\"", i,
                             parent != NULL ? parent : "", below != NULL ? below : "");
    }
  return TRUE;
}

static gboolean
is_throwaway (JsonObject *v1)
{
  JsonNode *node = json_object_get_member (v1, "throwaway");

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_boolean (node);
}

static gboolean
add_step (Schema1 *self, JsonArray *layers, JsonArray *history, guint index, GError **error)
{
  JsonObject *layer = element_object (layers, index);
  const char *blob = layer != NULL ? oci_string (layer, "blobSum") : NULL;
  JsonNode *v1 = read_v1 (history, index, error);
  const char *id;
  Step *step;

  if (v1 == NULL)
    return FALSE;
  step = g_new0 (Step, 1);
  *step = (Step){ v1, FALSE };
  id = oci_string (json_node_get_object (v1), "id");
  /* Some old clients wrote a step twice. */
  if (self->steps->len > 0 && id != NULL
      && g_strcmp0 (id, oci_string (json_node_get_object (
                                        ((Step *)g_ptr_array_index (self->steps, self->steps->len - 1))->v1),
                                    "id"))
             == 0)
    {
      step_free (step);
      return TRUE;
    }
  g_ptr_array_add (self->steps, step);
  if (blob == NULL || !g_str_has_prefix (blob, "sha256:") || !gantry_reference_check_digest (blob, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "layer %u of the manifest has no sha256 blobSum", index);
  step->empty = is_throwaway (json_node_get_object (v1)) || strcmp (blob, EMPTY_BLOB) == 0;
  if (!step->empty)
    g_ptr_array_insert (self->blobs, 0, g_strdup (blob));
  return TRUE;
}

Schema1 *
schema1_parse (GBytes *bytes, GError **error)
{
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  JsonArray *layers = object != NULL ? oci_array (object, "fsLayers") : NULL;
  JsonArray *history = object != NULL ? oci_array (object, "history") : NULL;
  g_autoptr (Schema1) self = g_new0 (Schema1, 1);
  guint n = layers != NULL ? json_array_get_length (layers) : 0;

  self->steps = g_ptr_array_new_with_free_func (step_free);
  self->blobs = g_ptr_array_new_with_free_func (g_free);
  if (node == NULL)
    return NULL;
  if (n == 0 || history == NULL || json_array_get_length (history) != n)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "the manifest of schema 1 has %u fsLayers and %u entries of history; it needs as many of "
                    "both, and at least one",
                    n, history != NULL ? json_array_get_length (history) : 0);
      return NULL;
    }
  if (n > OCI_MAX_LAYERS)
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the manifest has %u layers; the limit is %d", n,
                    OCI_MAX_LAYERS);
      return NULL;
    }
  self->architecture = g_strdup (oci_string (object, "architecture"));
  for (guint i = 0; i < n; i++)
    if (!add_step (self, layers, history, i, error))
      return NULL;
  g_ptr_array_add (self->blobs, NULL);
  return check_parents (self, error) ? g_steal_pointer (&self) : NULL;
}

const char *const *
schema1_get_blobs (Schema1 *self)
{
  return (const char *const *)self->blobs->pdata;
}

/* What made a step, as `docker history` shows it. Returns: (transfer full) (nullable). */
static char *
created_by (JsonObject *v1)
{
  JsonObject *config = oci_object (v1, "container_config");
  g_auto (GStrv) command = config != NULL ? oci_strv (config, "Cmd") : NULL;

  return command != NULL && command[0] != NULL ? g_strjoinv (" ", command) : NULL;
}

static void
set_string (JsonObject *object, const char *name, const char *value)
{
  if (value != NULL && value[0] != '\0')
    json_object_set_string_member (object, name, value);
}

static JsonArray *
make_history (Schema1 *self)
{
  JsonArray *history = json_array_new ();

  for (guint i = self->steps->len; i > 0; i--)
    {
      Step *step = g_ptr_array_index (self->steps, i - 1);
      JsonObject *v1 = json_node_get_object (step->v1), *entry = json_object_new ();
      g_autofree char *by = created_by (v1);

      set_string (entry, "created", oci_string (v1, "created"));
      set_string (entry, "created_by", by);
      set_string (entry, "author", oci_string (v1, "author"));
      set_string (entry, "comment", oci_string (v1, "comment"));
      if (step->empty)
        json_object_set_boolean_member (entry, "empty_layer", TRUE);
      json_array_add_object_element (history, entry);
    }
  return history;
}

static JsonObject *
make_rootfs (const char *const *diff_ids)
{
  JsonObject *rootfs = json_object_new ();
  JsonArray *array = json_array_new ();

  for (gsize i = 0; diff_ids[i] != NULL; i++)
    json_array_add_string_element (array, diff_ids[i]);
  json_object_set_string_member (rootfs, "type", "layers");
  json_object_set_array_member (rootfs, "diff_ids", array);
  return rootfs;
}

GBytes *
schema1_make_config (Schema1 *self, const char *const *diff_ids)
{
  static const char *const of_v1[]
      = { "id", "parent", "parent_id", "layer_id", "throwaway", "Size", "rootfs", "history", NULL };
  JsonObject *newest = json_node_get_object (((Step *)g_ptr_array_index (self->steps, 0))->v1);
  g_autoptr (GList) names = json_object_get_members (newest);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  JsonObject *config = json_object_new ();
  g_autoptr (JsonNode) root = json_node_init_object (json_node_alloc (), config);
  gsize length;
  char *text;

  for (GList *name = names; name != NULL; name = name->next)
    if (!g_strv_contains (of_v1, name->data))
      json_object_set_member (config, name->data,
                              json_node_copy (json_object_get_member (newest, name->data)));
  if (oci_string (config, "architecture") == NULL)
    json_object_set_string_member (config, "architecture",
                                   self->architecture != NULL ? self->architecture : "amd64");
  if (oci_string (config, "os") == NULL)
    json_object_set_string_member (config, "os", "linux");
  json_object_set_object_member (config, "rootfs", make_rootfs (diff_ids));
  json_object_set_array_member (config, "history", make_history (self));
  json_object_unref (config);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return g_bytes_new_take (text, length);
}
