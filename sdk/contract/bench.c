/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "fakes.h"

/* One started module. */
typedef struct
{
  BenchModule *module;
  GantryFakeHost *host;
} Part;

typedef struct
{
  GantryContractFixture fixture;
  const BenchPlan *plan;
  GantryFakes *fakes;
  GPtrArray *parts; /* (element-type Part), providers before what needs them */
  char *directory;
  char *scratch;
  char *skip;
} Bench;

static Part *start_part (Bench *self, BenchModule *module, GError **error);

void
bench_module_free (BenchModule *self)
{
  if (self == NULL)
    return;
  g_free (self->path);
  g_free (self->id);
  g_clear_pointer (&self->config, g_variant_unref);
  g_strfreev (self->provides);
  g_free (self);
}

void
bench_module_configure (BenchModule *self, const char *key, const char *value)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *name, *old;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  g_variant_iter_init (&iter, self->config);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &old))
    if (strcmp (name, key) != 0)
      g_variant_builder_add (&builder, "{ss}", name, old);
  g_variant_builder_add (&builder, "{ss}", key, value);
  g_variant_unref (self->config);
  self->config = g_variant_ref_sink (g_variant_builder_end (&builder));
}

static void
read_config (BenchModule *self, GKeyFile *file)
{
  g_auto (GStrv) keys = g_key_file_get_keys (file, "Config", NULL, NULL);

  for (gsize i = 0; keys != NULL && keys[i] != NULL; i++)
    {
      g_autofree char *value = g_key_file_get_string (file, "Config", keys[i], NULL);

      bench_module_configure (self, keys[i], value != NULL ? value : "");
    }
}

static gboolean
read_manifest (BenchModule *self, const char *path, const char *module_dir, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autofree char *module = NULL;
  g_autofree char *provides = NULL;
  g_autofree char *directory = module_dir != NULL ? g_strdup (module_dir) : g_path_get_dirname (path);

  if (!g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, error))
    {
      g_prefix_error (error, "manifest %s: ", path);
      return FALSE;
    }
  module = g_key_file_get_string (file, "Plugin", "Module", NULL);
  provides = g_key_file_get_string (file, "Plugin", "Provides", NULL);
  self->id = g_key_file_get_string (file, "Plugin", "Id", NULL);
  if (module == NULL || provides == NULL || self->id == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s lacks Module, Provides or Id",
                         path);
  self->rank = g_key_file_get_integer (file, "Plugin", "Rank", NULL);
  self->in_memory = g_key_file_get_boolean (file, "Plugin", "X-InMemory", NULL);
  self->provides = g_strsplit_set (provides, " ;,", -1);
  if (strchr (module, '/') != NULL)
    self->path = g_steal_pointer (&module);
  else
    self->path
        = g_strdup_printf ("%s/%s%s", directory, module, g_str_has_suffix (module, ".so") ? "" : ".so");
  read_config (self, file);
  return TRUE;
}

BenchModule *
bench_module_new (const char *path, const char *module_dir, GError **error)
{
  g_autoptr (BenchModule) self = g_new0 (BenchModule, 1);

  self->config = g_variant_ref_sink (g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0));
  if (g_str_has_suffix (path, ".so"))
    {
      self->path = g_canonicalize_filename (path, NULL);
      self->id = g_strdup ("test");
    }
  else if (!read_manifest (self, path, module_dir, error))
    return NULL;
  if (!g_file_test (self->path, G_FILE_TEST_IS_REGULAR))
    {
      gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no module %s", self->path);
      return NULL;
    }
  return g_steal_pointer (&self);
}

/* The interface @type of a part that runs. With @id (nullable): only of that plugin. Returns: (transfer none)
 * (nullable). */
static gpointer
find_interface (Part *part, const char *type, const char *id)
{
  const GantryPluginDesc *desc = part->host->desc;

  if (desc == NULL || (id != NULL && strcmp (part->module->id, id) != 0))
    return NULL;
  for (gsize i = 0; desc->provides[i] != NULL; i++)
    if (strcmp (desc->provides[i]->type, type) == 0)
      return gantry_fake_host_get (part->host, type);
  return NULL;
}

static Part *
find_part (Bench *self, const BenchModule *module)
{
  for (guint i = 0; i < self->parts->len; i++)
    if (((Part *)g_ptr_array_index (self->parts, i))->module == module)
      return g_ptr_array_index (self->parts, i);
  return NULL;
}

static gint
by_rank (gconstpointer a, gconstpointer b)
{
  return (*(BenchModule *const *)b)->rank - (*(BenchModule *const *)a)->rank;
}

/* The modules of the plan that provide @type, the highest rank first. The subject is not started a second
 * time. */
static GPtrArray *
candidates (Bench *self, const char *type, const char *id)
{
  const BenchModule *subject = self->plan->subject;
  GPtrArray *found = g_ptr_array_new ();

  for (guint i = 0; i < self->plan->others->len; i++)
    {
      BenchModule *module = g_ptr_array_index (self->plan->others, i);

      if (subject != NULL && strcmp (subject->path, module->path) == 0
          && strcmp (subject->id, module->id) == 0)
        module = self->plan->subject;
      if (module->provides != NULL && g_strv_contains ((const char *const *)module->provides, type)
          && (id == NULL || strcmp (module->id, id) == 0))
        g_ptr_array_add (found, module);
    }
  g_ptr_array_sort (found, by_rank);
  return found;
}

/* Hands what serves @need to @host. */
static gboolean
serve_need (Bench *self, GantryFakeHost *host, const GantryNeed *need, GError **error)
{
  g_autoptr (GPtrArray) modules = candidates (self, need->type, need->id);
  gpointer fake;
  gboolean served = FALSE;

  for (guint i = 0; i < modules->len && (!served || need->kind == GANTRY_NEED_MANY); i++)
    {
      BenchModule *module = g_ptr_array_index (modules, i);
      Part *part = find_part (self, module);
      g_autoptr (GError) local = NULL;
      gpointer instance;

      if (part == NULL)
        part = start_part (self, module, &local);
      if (part == NULL && !gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
        {
          g_propagate_prefixed_error (error, g_steal_pointer (&local), "%s: ", module->path);
          return FALSE;
        }
      instance = part != NULL ? find_interface (part, need->type, need->id) : NULL;
      if (instance == NULL)
        continue;
      gantry_fake_host_provide (host, need->type, module->id, instance);
      served = TRUE;
    }
  if (served)
    return TRUE;
  fake = gantry_fakes_get (self->fakes, need->type);
  if (fake != NULL)
    gantry_fake_host_provide (host, need->type, need->id != NULL ? need->id : "fake", fake);
  else if (need->kind == GANTRY_NEED_ONE)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE,
                         "nothing provides %s here; name a directory of manifests that do by --plugins-dir",
                         need->type);
  return TRUE;
}

const GantryPluginDesc *
bench_module_get_desc (const BenchModule *self, GError **error)
{
  const GantryPluginDesc *(*get_desc) (void) = NULL;
  void *module = dlopen (self->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

  if (module == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s", dlerror ());
      return NULL;
    }
  *(void **)&get_desc = dlsym (module, "gantry_plugin_get_desc");
  dlclose (module);
  if (get_desc == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s exports no gantry_plugin_get_desc", self->path);
      return NULL;
    }
  return get_desc ();
}

static void
part_free (gpointer data)
{
  Part *self = data;

  gantry_fake_host_free (self->host);
  g_free (self);
}

/* Starts @module after what it needs. Returns: (transfer none) (nullable). */
static Part *
start_part (Bench *self, BenchModule *module, GError **error)
{
  const GantryPluginDesc *desc = bench_module_get_desc (module, error);
  g_autofree Part *part = NULL;
  gboolean ok = TRUE;

  if (desc == NULL)
    return NULL;
  part = g_new0 (Part, 1);
  part->module = module;
  part->host = gantry_fake_host_new (self->directory, g_variant_ref (module->config));
  part->host->verbose = self->plan->verbose;
  gantry_fake_host_set_id (part->host, module->id);
  for (gsize i = 0; ok && desc->needs != NULL && desc->needs[i] != NULL; i++)
    ok = serve_need (self, part->host, desc->needs[i], error);
  if (!ok || !gantry_fake_host_start (part->host, desc, NULL, error))
    {
      gantry_fake_host_free (part->host);
      return NULL;
    }
  g_ptr_array_add (self->parts, part);
  return g_steal_pointer (&part);
}

static void
bench_restart (GantryContractFixture *fixture)
{
  Bench *self = (Bench *)fixture;
  Part *part = find_part (self, self->plan->subject);
  const GantryPluginDesc *desc = part->host->desc;

  gantry_fake_host_unload (part->host);
  CONTRACT_OK (gantry_fake_host_start (part->host, desc, NULL, &error));
  fixture->instance = gantry_fake_host_get (part->host, fixture->type);
}

static gpointer
bench_get (GantryContractFixture *fixture, const char *type)
{
  Bench *self = (Bench *)fixture;
  gpointer instance = NULL;

  for (guint i = self->parts->len; instance == NULL && i > 0; i--)
    instance = find_interface (g_ptr_array_index (self->parts, i - 1), type, NULL);
  if (instance == NULL)
    {
      g_autoptr (GPtrArray) modules = candidates (self, type, NULL);
      Part *part = modules->len > 0 ? start_part (self, g_ptr_array_index (modules, 0), NULL) : NULL;

      instance = part != NULL ? find_interface (part, type, NULL) : NULL;
    }
  return instance != NULL ? instance : gantry_fakes_get (self->fakes, type);
}

static void
start_subject (Bench *self, const char *type)
{
  g_autoptr (GError) error = NULL;
  Part *part;

  if (self->plan->subject == NULL)
    {
      self->fixture.instance = gantry_fakes_get (self->fakes, type);
      return;
    }
  part = start_part (self, self->plan->subject, &error);
  if (part != NULL)
    {
      self->fixture.instance = find_interface (part, type, NULL);
      self->fixture.restart = self->plan->subject->in_memory ? NULL : bench_restart;
    }
  else if (gantry_error_is (error, GANTRY_ERROR_NOT_IMPLEMENTED))
    self->fixture.skip = self->skip = g_strdup (error->message);
  else
    g_error ("%s does not start: %s", self->plan->subject->path, error->message);
}

GantryContractFixture *
bench_open (const GantryContractSuite *suite, gpointer plan)
{
  Bench *self = g_new0 (Bench, 1);
  GError *error = NULL;

  self->plan = plan;
  self->fakes = gantry_fakes_new ();
  self->parts = g_ptr_array_new_with_free_func (part_free);
  self->directory = g_dir_make_tmp ("gantry-contract-XXXXXX", &error);
  g_assert_no_error (error);
  self->scratch = g_build_filename (self->directory, "scratch", NULL);
  g_assert_cmpint (g_mkdir_with_parents (self->scratch, 0700), ==, 0);
  self->fixture.size = sizeof self->fixture;
  self->fixture.type = suite->type;
  self->fixture.id = self->plan->subject != NULL ? self->plan->subject->id : "fake";
  self->fixture.scratch = self->scratch;
  self->fixture.get = bench_get;
  start_subject (self, suite->type);
  return &self->fixture;
}

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
  (void)st;
  (void)flag;
  (void)ftw;
  return remove (path);
}

/* What is mounted is not the bench's to remove. Subvolumes of btrfs are, though they look like other file
 * systems. */
static void
assert_unmounted (const char *directory)
{
  g_autofree char *mounts = NULL;
  g_autofree char *below = g_strdup_printf (" %s/", directory);
  GError *error = NULL;

  g_file_get_contents ("/proc/self/mounts", &mounts, NULL, &error);
  g_assert_no_error (error);
  if (strstr (mounts, below) != NULL)
    g_error ("something is still mounted below %s", directory);
}

void
bench_close (GantryContractFixture *fixture)
{
  Bench *self = (Bench *)fixture;

  while (self->parts->len > 0)
    g_ptr_array_remove_index (self->parts, self->parts->len - 1);
  g_ptr_array_unref (self->parts);
  gantry_fakes_free (self->fakes);
  assert_unmounted (self->directory);
  if (nftw (self->directory, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0)
    g_error ("removing %s: %s", self->directory, g_strerror (errno));
  g_free (self->directory);
  g_free (self->scratch);
  g_free (self->skip);
  g_free (self);
}
