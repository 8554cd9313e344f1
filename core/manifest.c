/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manifest.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_MANIFEST  (256 * 1024)
#define MAX_MANIFESTS 512
#define MAX_ITEMS     64

static const char *const plugin_keys[]
    = { "Module", "Provides", "Id", "Needs", "Rank", "OnFailure", "Isolate", "Address", "Description", NULL };

/* A file's text with what is needed to tell where a key stands. */
typedef struct
{
  char *path;
  char *text;
  GKeyFile *keys;
} Source;

static void
source_free (Source *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->keys, g_key_file_unref);
  g_free (self->path);
  g_free (self->text);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Source, source_free)

void
setting_free (gpointer data)
{
  Setting *self = data;

  g_free (self->key);
  g_free (self->value);
  g_free (self->origin);
  g_free (self);
}

static void
need_free (ManifestNeed *self)
{
  if (self == NULL)
    return;
  g_free (self->type);
  g_free (self->id);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ManifestNeed, need_free)

void
manifest_free (Manifest *self)
{
  if (self == NULL)
    return;
  g_free (self->name);
  g_free (self->path);
  g_free (self->module);
  g_strfreev (self->provides);
  g_free (self->id);
  g_clear_pointer (&self->needs, g_ptr_array_unref);
  g_clear_pointer (&self->config, g_ptr_array_unref);
  g_free (self->masked_by);
  g_clear_error (&self->error);
  g_free (self);
}

const char *
need_kind_to_string (GantryNeedKind kind)
{
  return kind == GANTRY_NEED_MANY ? "many" : kind == GANTRY_NEED_OPTIONAL ? "optional" : "one";
}

const char *
on_failure_to_string (OnFailure on_failure)
{
  static const char *const names[] = { "fail", "warn", "ignore" };

  return names[on_failure];
}

guint
key_file_find_line (const char *text, const char *group, const char *key)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autofree char *header = g_strdup_printf ("[%s]", group);
  gboolean inside = FALSE;
  guint found = 0;

  for (guint i = 0; lines[i] != NULL; i++)
    {
      char *line = g_strstrip (lines[i]);

      if (line[0] == '[')
        {
          inside = strcmp (line, header) == 0;
          if (inside && key == NULL)
            return i + 1;
        }
      else if (inside && key != NULL && g_str_has_prefix (line, key)
               && (line[strlen (key)] == '=' || g_ascii_isspace (line[strlen (key)])))
        found = i + 1; /* of a key that stands there twice the last one counts */
    }
  return found;
}

static char *
origin_of (Source *source, const char *group, const char *key)
{
  return g_strdup_printf ("%s:%u", source->path, key_file_find_line (source->text, group, key));
}

/* An empty file or a link to /dev/null gives a source without keys. */
static Source *
source_load (const char *path, GError **error)
{
  g_autoptr (Source) source = g_new0 (Source, 1);
  g_autofree char *target = g_file_read_link (path, NULL);
  struct stat st;
  gsize length;

  source->path = g_strdup (path);
  if (g_strcmp0 (target, "/dev/null") == 0)
    return g_steal_pointer (&source);
  if (stat (path, &st) < 0)
    {
      gantry_throw_errno (error, errno, "reading manifest %s", path);
      return NULL;
    }
  if (!S_ISREG (st.st_mode) || st.st_size > MAX_MANIFEST)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "manifest %s is no regular file of at most %d bytes; replace it", path, MAX_MANIFEST);
      return NULL;
    }
  if (!g_file_get_contents (path, &source->text, &length, error))
    return NULL;
  if (length == 0)
    return g_steal_pointer (&source);
  source->keys = g_key_file_new ();
  if (!g_key_file_load_from_data (source->keys, source->text, length, G_KEY_FILE_NONE, error))
    {
      g_prefix_error (error, "%s: ", path);
      return NULL;
    }
  return g_steal_pointer (&source);
}

static void
warn_unknown (Source *source, GPtrArray *warnings)
{
  g_auto (GStrv) groups = g_key_file_get_groups (source->keys, NULL);
  g_auto (GStrv) keys = g_key_file_get_keys (source->keys, "Plugin", NULL, NULL);

  for (gsize i = 0; groups[i] != NULL; i++)
    if (strcmp (groups[i], "Plugin") != 0 && strcmp (groups[i], "Config") != 0
        && !g_str_has_prefix (groups[i], "X-"))
      {
        g_autofree char *origin = origin_of (source, groups[i], NULL);

        g_ptr_array_add (warnings, g_strdup_printf ("%s: unknown section [%s]", origin, groups[i]));
      }
  for (gsize i = 0; keys != NULL && keys[i] != NULL; i++)
    if (!g_strv_contains (plugin_keys, keys[i]) && !g_str_has_prefix (keys[i], "X-"))
      {
        g_autofree char *origin = origin_of (source, "Plugin", keys[i]);

        g_ptr_array_add (warnings, g_strdup_printf ("%s: unknown key %s", origin, keys[i]));
      }
}

static void
set_config (Manifest *self, const char *key, const char *value, char *origin)
{
  Setting *setting = NULL;

  for (guint i = 0; setting == NULL && i < self->config->len; i++)
    if (strcmp (((Setting *)g_ptr_array_index (self->config, i))->key, key) == 0)
      setting = g_ptr_array_index (self->config, i);
  if (setting == NULL)
    {
      setting = g_new0 (Setting, 1);
      setting->key = g_strdup (key);
      g_ptr_array_add (self->config, setting);
    }
  g_free (setting->value);
  g_free (setting->origin);
  setting->value = g_strdup (value);
  setting->origin = origin;
}

static gboolean
is_word (const char *text)
{
  gsize length = strlen (text);

  return length > 0 && length <= 64 && text[0] != '-'
         && strspn (text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") == length;
}

/* "org.gantry.events.v1": words with dots between them, the last a version. */
static gboolean
is_type (const char *text)
{
  g_auto (GStrv) words = g_strsplit (text, ".", -1);
  guint n = g_strv_length (words);

  for (guint i = 0; i < n; i++)
    if (!is_word (words[i]))
      return FALSE;
  return n >= 3 && strlen (text) <= 128 && words[n - 1][0] == 'v' && words[n - 1][1] != '\0'
         && strspn (words[n - 1] + 1, G_CSET_DIGITS) == strlen (words[n - 1] + 1);
}

/* "org.gantry.events.v1:local?" Returns: NULL if it is not of that form. */
static ManifestNeed *
parse_need (const char *text)
{
  g_autoptr (ManifestNeed) need = g_new0 (ManifestNeed, 1);
  g_autofree char *copy = g_strstrip (g_strdup (text));
  gsize length = strlen (copy);
  char *colon;

  if (length > 0 && (copy[length - 1] == '?' || copy[length - 1] == '*'))
    {
      need->kind = copy[length - 1] == '?' ? GANTRY_NEED_OPTIONAL : GANTRY_NEED_MANY;
      copy[length - 1] = '\0';
    }
  colon = strchr (copy, ':');
  if (colon != NULL)
    {
      *colon = '\0';
      need->id = g_strdup (colon + 1);
    }
  need->type = g_strdup (copy);
  return is_type (need->type) && (need->id == NULL || is_word (need->id)) ? g_steal_pointer (&need) : NULL;
}

static gboolean
bad_value (Source *source, const char *key, const char *value, const char *expected, GError **error)
{
  g_autofree char *origin = origin_of (source, "Plugin", key);

  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: %s=%s is not %s", origin, key, value,
                       expected);
}

static gboolean
apply_provides (Manifest *self, Source *source, const char *value, GError **error)
{
  g_auto (GStrv) list = g_key_file_get_string_list (source->keys, "Plugin", "Provides", NULL, NULL);

  if (g_strv_length (list) > MAX_ITEMS)
    return bad_value (source, "Provides", value, "a list of at most 64 types", error);
  for (gsize i = 0; list[i] != NULL; i++)
    if (!is_type (list[i]))
      return bad_value (source, "Provides", list[i], "a type such as org.gantry.content.v1", error);
  g_strfreev (self->provides);
  self->provides = g_steal_pointer (&list);
  return TRUE;
}

static gboolean
apply_needs (Manifest *self, Source *source, const char *value, GError **error)
{
  g_auto (GStrv) list = g_key_file_get_string_list (source->keys, "Plugin", "Needs", NULL, NULL);
  g_autoptr (GPtrArray) needs = g_ptr_array_new_with_free_func ((GDestroyNotify)need_free);

  if (g_strv_length (list) > MAX_ITEMS)
    return bad_value (source, "Needs", value, "a list of at most 64 needs", error);
  for (gsize i = 0; list[i] != NULL; i++)
    {
      ManifestNeed *need = list[i][0] != '\0' ? parse_need (list[i]) : NULL;

      if (need != NULL)
        g_ptr_array_add (needs, need);
      else if (list[i][0] != '\0')
        return bad_value (source, "Needs", list[i],
                          "a type, perhaps with :ID, and ? (optional) or * (many) behind it", error);
    }
  g_ptr_array_unref (self->needs);
  self->needs = g_steal_pointer (&needs);
  return TRUE;
}

void
manifest_set_config (Manifest *self, const char *key, const char *value, const char *origin)
{
  set_config (self, key, value, g_strdup (origin));
}

static gboolean
apply_plugin_key (Manifest *self, Source *source, const char *key, GError **error)
{
  g_autofree char *value = g_key_file_get_string (source->keys, "Plugin", key, error);
  gint64 number;

  if (value == NULL)
    {
      g_prefix_error (error, "%s: ", source->path);
      return FALSE;
    }
  if (strcmp (key, "Module") == 0)
    {
      g_free (self->module);
      self->module = g_steal_pointer (&value);
    }
  else if (strcmp (key, "Id") == 0)
    {
      if (!is_word (value))
        return bad_value (source, key, value, "a word of letters, digits, dashes and underscores", error);
      g_free (self->id);
      self->id = g_steal_pointer (&value);
    }
  else if (strcmp (key, "Provides") == 0)
    return apply_provides (self, source, value, error);
  else if (strcmp (key, "Needs") == 0)
    return apply_needs (self, source, value, error);
  else if (strcmp (key, "Rank") == 0)
    {
      if (!g_ascii_string_to_signed (value, 10, -100000, 100000, &number, NULL))
        return bad_value (source, key, value, "a number from -100000 to 100000", error);
      self->rank = (int)number;
    }
  else if (strcmp (key, "OnFailure") == 0)
    {
      if (strcmp (value, "fail") != 0 && strcmp (value, "warn") != 0 && strcmp (value, "ignore") != 0)
        return bad_value (source, key, value, "fail, warn or ignore", error);
      self->on_failure = value[0] == 'f'   ? ON_FAILURE_FAIL
                         : value[0] == 'w' ? ON_FAILURE_WARN
                                           : ON_FAILURE_IGNORE;
    }
  else if (strcmp (key, "Isolate") == 0)
    {
      if (strcmp (value, "no") != 0 && strcmp (value, "process") != 0)
        return bad_value (source, key, value, "no or process", error);
      self->isolate = value[0] == 'p';
    }
  return TRUE;
}

static gboolean
apply_source (Manifest *self, Source *source, GPtrArray *warnings, GError **error)
{
  g_auto (GStrv) keys = g_key_file_get_keys (source->keys, "Plugin", NULL, NULL);
  g_auto (GStrv) config = g_key_file_get_keys (source->keys, "Config", NULL, NULL);

  warn_unknown (source, warnings);
  for (gsize i = 0; keys != NULL && keys[i] != NULL; i++)
    if (g_strv_contains (plugin_keys, keys[i]) && !apply_plugin_key (self, source, keys[i], error))
      return FALSE;
  for (gsize i = 0; config != NULL && config[i] != NULL; i++)
    {
      g_autofree char *value = g_key_file_get_string (source->keys, "Config", config[i], error);

      if (value == NULL)
        {
          g_prefix_error (error, "%s: ", source->path);
          return FALSE;
        }
      set_config (self, config[i], value, origin_of (source, "Config", config[i]));
    }
  return TRUE;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* The names in @dir that end in @suffix, sorted; a missing directory has none. */
static GPtrArray *
list_dir (const char *dir, const char *suffix, GPtrArray *warnings)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) handle = g_dir_open (dir, 0, &error);
  const char *name;

  if (handle == NULL && !g_error_matches (error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    g_ptr_array_add (warnings, g_strdup (error->message));
  while (handle != NULL && (name = g_dir_read_name (handle)) != NULL)
    {
      if (!g_str_has_suffix (name, suffix) || name[0] == '.')
        continue;
      if (names->len == MAX_MANIFESTS)
        {
          g_ptr_array_add (warnings, g_strdup_printf ("%s has more than %d files; the rest is ignored", dir,
                                                      MAX_MANIFESTS));
          break;
        }
      g_ptr_array_add (names, g_strdup (name));
    }
  g_ptr_array_sort (names, compare_names);
  return names;
}

/* Drop-ins of all directories, by name; the same name later wins. */
static gboolean
apply_drop_ins (Manifest *self, const char *const *dirs, GPtrArray *warnings, GError **error)
{
  g_autoptr (GHashTable) paths = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer key;

  for (gsize i = 0; dirs[i] != NULL; i++)
    {
      gboolean is_file = g_str_has_suffix (dirs[i], ".plugin");
      g_autofree char *base = is_file ? g_path_get_dirname (dirs[i]) : g_strdup (dirs[i]);
      g_autofree char *dir = g_strdup_printf ("%s/%s.plugin.d", base, self->name);
      g_autoptr (GPtrArray) found = list_dir (dir, ".conf", warnings);

      for (guint j = 0; j < found->len; j++)
        g_hash_table_insert (paths, g_strdup (g_ptr_array_index (found, j)),
                             g_build_filename (dir, g_ptr_array_index (found, j), NULL));
    }
  g_hash_table_iter_init (&iter, paths);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    g_ptr_array_add (names, key);
  g_ptr_array_sort (names, compare_names);
  for (guint i = 0; i < names->len; i++)
    {
      g_autoptr (Source) source
          = source_load (g_hash_table_lookup (paths, g_ptr_array_index (names, i)), error);

      if (source == NULL || (source->keys != NULL && !apply_source (self, source, warnings, error)))
        return FALSE;
    }
  return TRUE;
}

static gboolean
check_complete (Manifest *self, GError **error)
{
  const char *missing = self->module == NULL || self->module[0] == '\0'       ? "Module"
                        : self->provides == NULL || self->provides[0] == NULL ? "Provides"
                        : self->id == NULL                                    ? "Id"
                                                                              : NULL;

  return missing == NULL
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s has no %s= in [Plugin]", self->path,
                          missing);
}

/* What a masked plugin would have provided, from the file that is masked, so that diagnostics can say what is
 * missing and why. */
static void
learn_masked (Manifest *self, const char *name, const char *const *dirs)
{
  g_autoptr (GPtrArray) ignored = g_ptr_array_new_with_free_func (g_free);

  for (gsize i = g_strv_length ((char **)dirs); i > 0; i--)
    {
      g_autofree char *path = g_build_filename (dirs[i - 1], name, NULL);
      g_autoptr (Source) source = source_load (path, NULL);

      if (source != NULL && source->keys != NULL && apply_source (self, source, ignored, NULL))
        return;
    }
}

static Manifest *
load_one (const char *name, const char *path, const char *const *dirs, GPtrArray *warnings)
{
  Manifest *self = g_new0 (Manifest, 1);
  g_autoptr (Source) source = NULL;

  self->name = g_strndup (name, strlen (name) - strlen (".plugin"));
  self->path = g_strdup (path);
  self->on_failure = ON_FAILURE_WARN;
  self->needs = g_ptr_array_new_with_free_func ((GDestroyNotify)need_free);
  self->config = g_ptr_array_new_with_free_func (setting_free);
  source = source_load (path, &self->error);
  if (source == NULL)
    return self;
  if (source->keys == NULL)
    {
      self->masked_by = g_strdup (path);
      learn_masked (self, name, dirs);
      return self;
    }
  if (apply_source (self, source, warnings, &self->error)
      && apply_drop_ins (self, dirs, warnings, &self->error))
    check_complete (self, &self->error);
  return self;
}

static gboolean
apply_override (GPtrArray *manifests, const char *override, GError **error)
{
  const char *dot = strchr (override, '.'), *equals = strchr (override, '=');

  if (dot == NULL || equals == NULL || dot > equals)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not PLUGIN.KEY=VALUE", override);
  for (guint i = 0; i < manifests->len; i++)
    {
      Manifest *manifest = g_ptr_array_index (manifests, i);
      g_autofree char *key = g_strndup (dot + 1, (gsize)(equals - dot - 1));

      if (strlen (manifest->name) != (gsize)(dot - override)
          || strncmp (manifest->name, override, (gsize)(dot - override)) != 0)
        continue;
      set_config (manifest, key, equals + 1, g_strdup ("command line"));
      return TRUE;
    }
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                       "\"%s\" names no plugin that has a manifest; see `gantry plugin list`", override);
}

static int
compare_manifests (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(Manifest *const *)a)->name, (*(Manifest *const *)b)->name);
}

/* Notes the manifest @path under its name; a later one replaces it. */
static void
collect_path (const char *path, GHashTable *paths, GPtrArray *warnings)
{
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *word = g_strndup (name, strlen (name) - strlen (".plugin"));

  if (is_word (word))
    g_hash_table_insert (paths, g_steal_pointer (&name), g_strdup (path));
  else
    g_ptr_array_add (warnings, g_strdup_printf ("%s is ignored: its name is no word of letters, digits, "
                                                "dashes and underscores",
                                                path));
}

/* @dir is a directory of manifests, or a single one. */
static void
collect_paths (const char *dir, GHashTable *paths, GPtrArray *warnings)
{
  g_autoptr (GPtrArray) found = NULL;

  if (g_str_has_suffix (dir, ".plugin"))
    {
      collect_path (dir, paths, warnings);
      return;
    }
  found = list_dir (dir, ".plugin", warnings);
  for (guint i = 0; i < found->len; i++)
    {
      g_autofree char *path = g_build_filename (dir, g_ptr_array_index (found, i), NULL);

      collect_path (path, paths, warnings);
    }
}

GPtrArray *
manifests_load (const char *const *dirs, const char *const *overrides, GPtrArray *warnings, GError **error)
{
  g_autoptr (GPtrArray) manifests = g_ptr_array_new_with_free_func ((GDestroyNotify)manifest_free);
  g_autoptr (GHashTable) paths = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  GHashTableIter iter;
  gpointer name, path;

  for (gsize i = 0; dirs[i] != NULL; i++)
    collect_paths (dirs[i], paths, warnings);
  g_hash_table_iter_init (&iter, paths);
  while (g_hash_table_iter_next (&iter, &name, &path))
    g_ptr_array_add (manifests, load_one (name, path, dirs, warnings));
  g_ptr_array_sort (manifests, compare_manifests);
  for (gsize i = 0; overrides != NULL && overrides[i] != NULL; i++)
    if (!apply_override (manifests, overrides[i], error))
      return NULL;
  return g_steal_pointer (&manifests);
}

GVariant *
manifest_get_config (Manifest *self)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (guint i = 0; i < self->config->len; i++)
    {
      Setting *setting = g_ptr_array_index (self->config, i);

      g_variant_builder_add (&builder, "{ss}", setting->key, setting->value);
    }
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static gboolean
is_trusted (const struct stat *st)
{
  return (st->st_uid == 0 || st->st_uid == geteuid ()) && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

char *
manifest_resolve_module (Manifest *self, const char *plugindir, GError **error)
{
  g_autofree char *path = NULL;
  struct stat st;

  if (g_path_is_absolute (self->module))
    path = g_strdup (self->module);
  else if (strchr (self->module, '/') != NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "%s: Module=%s is neither a name nor an absolute path", self->path, self->module);
      return NULL;
    }
  else
    path = g_strdup_printf ("%s/%s.so", plugindir, self->module);
  if (stat (path, &st) < 0)
    {
      gantry_throw_errno (error, errno, "module %s of %s", path, self->path);
      return NULL;
    }
  if (!S_ISREG (st.st_mode) || !is_trusted (&st))
    {
      gantry_throw (
          error, GANTRY_ERROR_PERMISSION_DENIED,
          "module %s is not loaded: it must be a file that belongs to root and that nobody else can write",
          path);
      return NULL;
    }
  return g_steal_pointer (&path);
}
