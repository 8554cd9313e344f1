/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sandboxes: a task under the sandbox's id, whose one process holds the namespaces that the containers of a
 * pod join. What it runs is the record's spec, if that is one of the OCI's, or gantry-pause in a root file
 * system with nothing else in it. */
#include "tasks-local.h"

#include <dlfcn.h>
#include <string.h>

#include <json-glib/json-glib.h>

#define GROUP    "io.containerd.runc.v2.group"
#define MAX_SPEC (4 * 1024 * 1024)

/* The program beside this module in a build tree, else the installed one. Returns: (transfer full). */
static char *
find_pause (void)
{
  g_autofree char *dir = NULL, *path = NULL;
  Dl_info info;

  if (dladdr (&find_pause, &info) != 0 && info.dli_fname != NULL)
    {
      dir = g_path_get_dirname (info.dli_fname);
      path = g_build_filename (dir, "tasks-local", "pause", "gantry-pause", NULL);
      if (g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
        return g_steal_pointer (&path);
    }
  return g_strdup (GANTRY_LIBEXECDIR "/gantry-pause");
}

/* What is not said here, create () fills in. */
static JsonNode *
pause_spec (const char *ns, const char *id)
{
  static const char format[] = "{\"ociVersion\": \"1.0.2\","
                               " \"process\": {\"args\": [\"/pause\"], \"cwd\": \"/\", \"user\": {\"uid\": "
                               "65534, \"gid\": 65534}, \"noNewPrivileges\": true},"
                               " \"root\": {\"path\": \"rootfs\", \"readonly\": true},"
                               " \"mounts\": ["
                               "  {\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\", "
                               "\"options\": [\"nosuid\", \"noexec\", \"nodev\"]},"
                               "  {\"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", "
                               "\"options\": [\"nosuid\", \"strictatime\", \"mode=755\","
                               "   \"size=64k\"]},"
                               "  {\"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\", "
                               "\"options\": [\"nosuid\", \"noexec\", \"nodev\","
                               "   \"mode=1777\", \"size=64m\"]},"
                               "  {\"destination\": \"/pause\", \"type\": \"bind\", \"source\": \"%s\", "
                               "\"options\": [\"bind\", \"ro\"]}],"
                               " \"linux\": {\"cgroupsPath\": \"/%s/%s\","
                               "  \"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"ipc\"}, {\"type\": "
                               "\"uts\"}, {\"type\": \"mount\"}, {\"type\": \"network\"}],"
                               "  \"maskedPaths\": [\"/proc/kcore\", \"/proc/keys\", \"/proc/timer_list\"],"
                               "  \"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", "
                               "\"/proc/sys\", \"/proc/sysrq-trigger\"]}}";
  g_autofree char *pause = find_pause ();
  g_autofree char *text = g_strdup_printf (format, pause, ns, id);

  return json_from_string (text, NULL);
}

static JsonObject *
member_object (JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member (object, name);

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    json_object_set_object_member (object, name, json_object_new ());
  return json_object_get_object_member (object, name);
}

/* The network namespace is the one at @path. */
static void
join_network (JsonObject *spec, const char *path)
{
  JsonObject *linux_ = member_object (spec, "linux"), *added;
  JsonNode *node = json_object_get_member (linux_, "namespaces");
  JsonArray *namespaces = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (namespaces == NULL)
    {
      namespaces = json_array_new ();
      json_object_set_array_member (linux_, "namespaces", namespaces);
    }
  for (guint i = 0; i < json_array_get_length (namespaces); i++)
    {
      JsonNode *one = json_array_get_element (namespaces, i);

      if (JSON_NODE_HOLDS_OBJECT (one)
          && g_strcmp0 (json_object_get_string_member_with_default (json_node_get_object (one), "type", NULL),
                        "network")
                 == 0)
        {
          json_object_set_string_member (json_node_get_object (one), "path", path);
          return;
        }
    }
  added = json_object_new ();
  json_object_set_string_member (added, "type", "network");
  json_object_set_string_member (added, "path", path);
  json_array_add_object_element (namespaces, added);
}

static void
add_annotations (JsonObject *spec, const char *id, GVariant *options)
{
  g_autoptr (GVariant) given
      = options != NULL ? g_variant_lookup_value (options, "annotations", G_VARIANT_TYPE ("a{ss}")) : NULL;
  JsonObject *annotations = member_object (spec, "annotations");
  const char *key, *value;
  GVariantIter iter;

  /* So that its shim serves the containers that say the same, too. */
  if (!json_object_has_member (annotations, GROUP))
    json_object_set_string_member (annotations, GROUP, id);
  if (given == NULL)
    return;
  g_variant_iter_init (&iter, given);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    json_object_set_string_member (annotations, key, value);
}

/* The record's spec, if it is an OCI runtime's. Returns: (transfer full) (nullable): it has none. */
static JsonNode *
own_spec (GantryRecord *record, GError **error)
{
  g_autoptr (GVariant) any = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
  g_autoptr (GBytes) bytes = any != NULL ? gantry_any_get_bytes (any) : NULL;
  g_autoptr (JsonParser) parser = NULL;
  JsonNode *root;

  if (any == NULL || strstr (gantry_any_get_type_url (any), "opencontainers/runtime-spec") == NULL)
    return NULL;
  parser = json_parser_new_immutable ();
  if (g_bytes_get_size (bytes) > MAX_SPEC
      || !json_parser_load_from_data (parser, g_bytes_get_data (bytes, NULL),
                                      (gssize)g_bytes_get_size (bytes), NULL))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "the spec of sandbox %s is no JSON: invalid argument", record->id);
      return NULL;
    }
  root = json_parser_get_root (parser);
  /* One without a process says what the pod is, and not what to run. */
  return root != NULL && JSON_NODE_HOLDS_OBJECT (root)
                 && json_object_has_member (json_node_get_object (root), "process")
             ? json_node_copy (root)
             : NULL;
}

static GBytes *
make_spec (GantryRecord *record, GVariant *options, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonNode) own = own_spec (record, &local), node = NULL;
  g_autofree char *text = NULL;
  const char *netns = NULL;
  JsonObject *spec;

  if (local != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  if (own != NULL)
    {
      /* What a parser gave may not be changed. */
      g_autofree char *copy = json_to_string (own, FALSE);

      node = json_from_string (copy, NULL);
    }
  else
    node = pause_spec (record->ns, record->id);
  spec = json_node_get_object (node);
  if (options != NULL && g_variant_lookup (options, "netns", "&s", &netns) && netns[0] != '\0')
    join_network (spec, netns);
  add_annotations (spec, record->id, options);
  if (own == NULL)
    json_object_set_string_member (spec, "hostname", record->id);
  text = json_to_string (node, FALSE);
  return g_bytes_new (text, strlen (text));
}

/* Returns: whether it was not marked before. */
static gboolean
mark (TasksLocal *self, const char *ns, const char *id)
{
  gboolean added;

  g_mutex_lock (&self->lock);
  added = g_hash_table_add (self->sandboxes, g_strconcat (ns, "/", id, NULL));
  g_mutex_unlock (&self->lock);
  return added;
}

void
sandbox_forget (TasksLocal *self, const char *ns, const char *id)
{
  g_autofree char *key = g_strconcat (ns, "/", id, NULL);

  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->sandboxes, key);
  g_mutex_unlock (&self->lock);
}

gboolean
sandbox_is_held_by (TasksLocal *self, const char *ns, const char *id)
{
  g_autofree char *key = g_strconcat (ns, "/", id, NULL);
  gboolean found;

  g_mutex_lock (&self->lock);
  found = g_hash_table_contains (self->sandboxes, key);
  g_mutex_unlock (&self->lock);
  return found;
}

static gboolean
keep_record (GantryRecord *record, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_record_ref (record));
  return TRUE;
}

gboolean
sandbox_find_all (TasksLocal *self, GError **error)
{
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func (gantry_value_unref);

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_SANDBOX, NULL, NULL, NULL, 0, keep_record, records,
                             NULL, error))
    return FALSE;
  for (guint i = 0; i < records->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (records, i);
      g_autoptr (GantryRecord) container = NULL;

      /* A container of this id has a task of its own. */
      if (tasks_local_runtime_of (self, record->ns, record->id, NULL) != NULL
          && !gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, record->ns, record->id, &container,
                                   NULL, NULL))
        mark (self, record->ns, record->id);
    }
  return TRUE;
}

gboolean
tasks_create_sandbox (GantryTasks *tasks, const char *ns, const char *id, GVariant *options,
                      GPtrArray *mounts, GantryProcess **ret_process, GCancellable *cancellable,
                      GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  g_autoptr (GantryRecord) record = NULL, container = NULL;
  g_autoptr (GBytes) spec = NULL;
  g_autoptr (GantryTaskCreate) create = NULL;
  g_autoptr (GantryProcess) process = NULL;
  GantryRuntime *runtime;
  gboolean marked;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_SANDBOX, ns, id, &record, cancellable, error))
    return FALSE;
  if (gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &container, cancellable, NULL))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS,
                         "sandbox %s: there is a container of this id: already exists", id);
  runtime = tasks_local_find_runtime (self, gantry_record_get_string (record, "runtime"), error);
  spec = runtime != NULL ? make_spec (record, held, error) : NULL;
  if (spec == NULL)
    return FALSE;
  create = gantry_task_create_new (ns, id, spec, mounts, NULL);
  create->options = gantry_record_get_field (record, "runtime-options", G_VARIANT_TYPE ("(say)"));
  marked = mark (self, ns, id);
  announce_expect (self, create);
  if (!gantry_runtime_create (runtime, create, &process, cancellable, error))
    {
      announce_forget (self, create);
      if (marked)
        sandbox_forget (self, ns, id);
      g_prefix_error (error, "sandbox %s: ", id);
      return FALSE;
    }
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

gboolean
tasks_delete_sandbox (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable,
                      GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryRecord) record = NULL;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_SANDBOX, ns, id, &record, cancellable, error))
    return FALSE;
  if (tasks_local_runtime_of (self, ns, id, NULL) == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "sandbox %s is not held by any process: not found",
                         id);
  return tasks_local_end (self, ns, id, cancellable, error);
}
