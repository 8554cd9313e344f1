/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Docker's manifests of schema 1: any bytes as one that a registry answers with, signed or not, and what it
 * is made into. A config that is made can be read again and says of the layers what the manifest said. */
#include <stdint.h>
#include <string.h>

#include "registry-oci.h"
#include "schema1.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_error (gboolean ok, const GError *error, const char *what)
{
  if (ok != (error == NULL))
    g_error ("%s, or why there is none", what);
  if (error != NULL && !g_utf8_validate (error->message, -1, NULL))
    g_error ("%s: it is refused without a readable reason: %s", what, error->message);
}

static guint
count_layers (JsonArray *history)
{
  guint n = 0;

  for (guint i = 0; i < json_array_get_length (history); i++)
    if (!json_object_has_member (json_array_get_object_element (history, i), "empty_layer"))
      n++;
  return n;
}

static void
check_config (Schema1 *manifest, const char *const *blobs)
{
  g_autoptr (GBytes) bytes = schema1_make_config (manifest, blobs);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &error);
  g_auto (GStrv) diff_ids = NULL;
  JsonObject *config;
  JsonArray *history;

  if (node == NULL)
    g_error ("the config that was made can't be read: %s", error->message);
  config = json_node_get_object (node);
  diff_ids = oci_strv (oci_object (config, "rootfs"), "diff_ids");
  history = oci_array (config, "history");
  if (!g_strv_equal ((const char *const *)diff_ids, blobs) || history == NULL
      || count_layers (history) != g_strv_length (diff_ids))
    g_error ("the config that was made has other layers than the manifest");
  if (oci_string (config, "os") == NULL || oci_string (config, "architecture") == NULL)
    g_error ("the config that was made is for no platform");
}

static void
check_manifest (GBytes *bytes)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Schema1) manifest = schema1_parse (bytes, &error);
  const char *const *blobs;

  check_error (manifest != NULL, error, "a manifest");
  if (manifest == NULL)
    return;
  blobs = schema1_get_blobs (manifest);
  for (gsize i = 0; blobs[i] != NULL; i++)
    if (!gantry_reference_check_digest (blobs[i], NULL) || i >= OCI_MAX_LAYERS)
      g_error ("\"%s\" was taken for a layer", blobs[i]);
  check_config (manifest, blobs);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size), payload = NULL;
  g_autoptr (GError) error = NULL;
  gboolean ok;

  ok = schema1_payload (bytes, &payload, &error);
  check_error (ok, error, "a payload");
  if (!ok && payload != NULL)
    g_error ("a payload and an error");
  if (payload != NULL && g_bytes_get_size (payload) > 2 * size)
    g_error ("the payload has %" G_GSIZE_FORMAT " bytes", g_bytes_get_size (payload));
  if (payload != NULL && payload != bytes)
    check_manifest (payload);
  check_manifest (bytes);
  return 0;
}
