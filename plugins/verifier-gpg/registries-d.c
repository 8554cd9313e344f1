/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The YAML files of registries.d. */
#include "lookaside.h"
#include "policy.h"

#include <errno.h>
#include <string.h>

#include <fdio.h>
#include <yaml.h>

#define MAX_FILE  (1024 * 1024)
#define MAX_FILES 1024

/* One section. Names of before containers 5 still count. */
typedef struct
{
  char *read;
  char *write;
} Section;

typedef struct
{
  const char *file;
  yaml_document_t *document;
  GHashTable *sections; /* scope ("" is default-docker) -> Section */
} Reader;

static void
section_free (gpointer data)
{
  Section *section = data;

  g_free (section->read);
  g_free (section->write);
  g_free (section);
}

static gboolean
broken (Reader *reader, GError **error, const char *what)
{
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: %s", reader->file, what);
}

static const char *
scalar (yaml_node_t *node)
{
  return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static gboolean
read_section (Reader *reader, const char *scope, yaml_node_t *node, GError **error)
{
  Section *section;

  if (node == NULL || node->type != YAML_MAPPING_NODE)
    return broken (reader, error, "a section must be a mapping");
  if (g_hash_table_contains (reader->sections, scope))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: there is a section for \"%s\" already",
                         reader->file, scope[0] != '\0' ? scope : "default-docker");
  section = g_new0 (Section, 1);
  g_hash_table_insert (reader->sections, g_strdup (scope), section);
  for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++)
    {
      const char *key = scalar (yaml_document_get_node (reader->document, pair->key));
      const char *value = scalar (yaml_document_get_node (reader->document, pair->value));
      gboolean staging
          = g_strcmp0 (key, "lookaside-staging") == 0 || g_strcmp0 (key, "sigstore-staging") == 0;
      char **place = staging                                                                 ? &section->write
                     : g_strcmp0 (key, "lookaside") == 0 || g_strcmp0 (key, "sigstore") == 0 ? &section->read
                                                                                             : NULL;

      if (place == NULL)
        continue;
      if (value == NULL || value[0] == '\0' || *place != NULL)
        return broken (reader, error, "a store must be named once, by a URL");
      *place = g_strdup (value);
    }
  return TRUE;
}

static gboolean
read_root (Reader *reader, yaml_node_t *root, GError **error)
{
  if (root == NULL)
    return TRUE;
  if (root->type != YAML_MAPPING_NODE)
    return broken (reader, error, "it must be a mapping");
  for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++)
    {
      const char *key = scalar (yaml_document_get_node (reader->document, pair->key));
      yaml_node_t *value = yaml_document_get_node (reader->document, pair->value);

      if (g_strcmp0 (key, "default-docker") == 0)
        {
          if (!read_section (reader, "", value, error))
            return FALSE;
        }
      else if (g_strcmp0 (key, "docker") == 0)
        {
          if (value->type != YAML_MAPPING_NODE)
            return broken (reader, error, "\"docker\" must be a mapping");
          for (yaml_node_pair_t *one = value->data.mapping.pairs.start; one < value->data.mapping.pairs.top;
               one++)
            {
              const char *scope = scalar (yaml_document_get_node (reader->document, one->key));

              if (scope == NULL || scope[0] == '\0')
                return broken (reader, error, "the keys of \"docker\" must be names");
              if (!read_section (reader, scope, yaml_document_get_node (reader->document, one->value), error))
                return FALSE;
            }
        }
      else
        return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: there is no key \"%s\"",
                             reader->file, key != NULL ? key : "?");
    }
  return TRUE;
}

static gboolean
read_file (Reader *reader, GBytes *bytes, GError **error)
{
  yaml_parser_t parser;
  yaml_document_t document;
  gboolean ok = TRUE;

  if (!yaml_parser_initialize (&parser))
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "%s: no memory for the parser",
                         reader->file);
  /* An empty file has no data, which libyaml takes for a bug. */
  yaml_parser_set_input_string (&parser,
                                g_bytes_get_size (bytes) > 0 ? g_bytes_get_data (bytes, NULL)
                                                             : (const unsigned char *)"",
                                g_bytes_get_size (bytes));
  if (yaml_parser_load (&parser, &document))
    {
      reader->document = &document;
      ok = read_root (reader, yaml_document_get_root_node (&document), error);
      yaml_document_delete (&document);
    }
  else
    ok = gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s:%zu: %s", reader->file,
                       parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "it is not YAML");
  yaml_parser_delete (&parser);
  return ok;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

GHashTable *
registries_d_new_sections (void)
{
  return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, section_free);
}

gboolean
registries_d_parse (GHashTable *sections, const char *file, GBytes *bytes, GError **error)
{
  Reader reader = { .file = file, .sections = sections };

  return read_file (&reader, bytes, error);
}

/* All files of @directory, in the order of their names. */
static gboolean
read_directory (const char *directory, GHashTable *sections, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GDir) dir = g_dir_open (directory, 0, &local);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  gantry_autofd int dfd = open (directory, O_DIRECTORY | O_CLOEXEC);
  const char *name;

  if (dfd < 0 && errno == ENOENT)
    return TRUE;
  if (dir == NULL || dfd < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: %s", directory,
                         local != NULL ? local->message : g_strerror (errno));
  while ((name = g_dir_read_name (dir)) != NULL && names->len < MAX_FILES)
    if (g_str_has_suffix (name, ".yaml"))
      g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, compare_names);
  for (guint i = 0; i < names->len; i++)
    {
      g_autofree char *path = g_build_filename (directory, g_ptr_array_index (names, i), NULL);
      g_autoptr (GBytes) bytes = gantry_read_file_at (dfd, g_ptr_array_index (names, i), MAX_FILE, error);

      if (bytes == NULL || !registries_d_parse (sections, path, bytes, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
lookaside_find (const char *directory, const GantryReference *reference, char **ret_read, char **ret_write,
                GError **error)
{
  g_autoptr (GHashTable) sections = registries_d_new_sections ();
  Section *found = NULL;

  if (!read_directory (directory, sections, error))
    return FALSE;
  for (g_autofree char *scope = scope_of (reference); scope != NULL && scope[0] != '*' && found == NULL;)
    {
      char *wider = scope_widen (scope);

      found = g_hash_table_lookup (sections, scope);
      g_free (scope);
      scope = wider;
    }
  if (found == NULL)
    found = g_hash_table_lookup (sections, "");
  *ret_read = g_strdup (found != NULL ? found->read : LOOKASIDE_DEFAULT);
  *ret_write = g_strdup (found != NULL && found->write != NULL ? found->write : *ret_read);
  return TRUE;
}
