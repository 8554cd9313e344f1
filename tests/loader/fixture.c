/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A module for tests of the loader. Its shape is chosen when it is compiled (meson.build), its conduct by its
 * [Config]: Init=fail | skip | silent | undeclared    how init () goes wrong WaitFor=PATH init () says
 * UNAVAILABLE until PATH is there Meet=PATH, MeetAs=r | w                   init () opens a FIFO, which takes
 * another one that does it, too Threads=N                                 init () submits N jobs, and fini ()
 * says how many have run */
#include <gantry/frontend.h>
#include <gantry/introspection.h>

#include <fcntl.h>
#include <unistd.h>

#ifndef FIXTURE_PROVIDES
#define FIXTURE_PROVIDES "org.example.one.v1"
#endif
#ifndef FIXTURE_ABI
#define FIXTURE_ABI GANTRY_ABI_MAJOR
#endif
#ifndef FIXTURE_DESC_SIZE
#define FIXTURE_DESC_SIZE sizeof (GantryPluginDesc)
#endif
#ifndef FIXTURE_RETURN
#define FIXTURE_RETURN &desc
#endif
#ifndef FIXTURE_NAME
#define FIXTURE_NAME "fixture"
#endif
#ifndef FIXTURE_KIND
#define FIXTURE_KIND GANTRY_NEED_ONE
#endif
#ifndef FIXTURE_MIN_SIZE
#define FIXTURE_MIN_SIZE 0
#endif

typedef struct
{
  size_t size;
  void (*first) (void);
  void (*second) (void);
} FixtureVtable;

/* What submitted jobs work on: it outlives an init () that fails. */
typedef struct
{
  GMutex gate; /* held while jobs are submitted, so that the queue fills */
  int n;
} Jobs;

typedef struct
{
  GantryFrontend frontend; /* its vtable pointer is first in every instance */
  const GantryHost *host;
  GantryIntrospection *introspection;
  guint64 watch;
  gboolean found;
  Jobs *jobs;
} Fixture;

static void
jobs_clear (gpointer data)
{
  g_mutex_clear (&((Jobs *)data)->gate);
}

static void
jobs_unref (gpointer data)
{
  g_atomic_rc_box_release_full (data, jobs_clear);
}

static void
fixture_free (Fixture *self)
{
  if (self == NULL)
    return;
  if (self->watch != 0)
    self->introspection->vtable->unwatch (self->introspection, self->watch);
  jobs_unref (self->jobs);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Fixture, fixture_free)

#ifdef FIXTURE_NEED
static void
on_changed (gpointer introspection, gpointer user_data)
{
  Fixture *self = user_data;

  if (self->found || gantry_host_lookup (self->host, FIXTURE_NEED, NULL, NULL) == NULL)
    return;
  self->found = TRUE;
  gantry_host_log (self->host, GANTRY_LOG_NOTICE, "found %s later", FIXTURE_NEED);
}

/* Says whom its need has got. */
static gboolean
use_need (Fixture *self, GError **error)
{
  g_autoptr (GPtrArray) all = NULL;

  if (FIXTURE_KIND != GANTRY_NEED_MANY)
    {
      g_autoptr (GError) local = NULL;

      self->found = gantry_host_lookup (self->host, FIXTURE_NEED, NULL, &local) != NULL;
      gantry_host_log (self->host, GANTRY_LOG_NOTICE, "%s %s", self->found ? "has" : "is without",
                       FIXTURE_NEED);
      if (local != NULL)
        g_propagate_error (error, g_steal_pointer (&local));
      return error == NULL || *error == NULL;
    }
  all = gantry_host_lookup_all (self->host, FIXTURE_NEED, error);
  for (guint i = 0; all != NULL && i < all->len; i++)
    gantry_host_log (self->host, GANTRY_LOG_NOTICE, "has %s:%s of rank %d", FIXTURE_NEED,
                     ((GantryBinding *)g_ptr_array_index (all, i))->id,
                     ((GantryBinding *)g_ptr_array_index (all, i))->rank);
  return all != NULL;
}
#endif

static gboolean
meet (const char *path, const char *as, GError **error)
{
  int fd = open (path, as[0] == 'r' ? O_RDONLY | O_CLOEXEC : O_WRONLY | O_CLOEXEC);

  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening %s", path);
  close (fd);
  return TRUE;
}

static gboolean
conduct (const GantryHost *host, GError **error)
{
  const char *init = gantry_host_get_config_string (host, "Init", "ok");
  const char *wait_for = gantry_host_get_config_string (host, "WaitFor", NULL);
  const char *path = gantry_host_get_config_string (host, "Meet", NULL);

  if (strcmp (init, "fail") == 0)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the fixture fails as it was told");
  if (strcmp (init, "skip") == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "this machine has no fixtures");
  if (strcmp (init, "silent") == 0)
    return FALSE;
  if (strcmp (init, "undeclared") == 0
      && gantry_host_lookup (host, "org.example.secret.v1", NULL, error) == NULL)
    return FALSE;
  if (wait_for != NULL && access (wait_for, F_OK) < 0)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "%s is not there yet", wait_for);
  return path == NULL || meet (path, gantry_host_get_config_string (host, "MeetAs", "r"), error);
}

static void
count (gpointer data, gpointer user_data)
{
  Jobs *jobs = data;

  g_mutex_lock (&jobs->gate);
  jobs->n++;
  g_mutex_unlock (&jobs->gate);
}

static gboolean
submit_jobs (Fixture *self, GError **error)
{
  gboolean ok = TRUE;
  guint64 n;

  if (!gantry_host_get_config_uint64 (self->host, "Threads", 0, 0, 1000, &n, error))
    return FALSE;
  g_mutex_lock (&self->jobs->gate);
  for (guint64 i = 0; i < n && ok; i++)
    {
      ok = gantry_host_submit (self->host, i % 2 ? GANTRY_POOL_IO : GANTRY_POOL_RUNTIME, count,
                               g_atomic_rc_box_acquire (self->jobs), jobs_unref, error);
      if (!ok)
        jobs_unref (self->jobs); /* the one that was not taken */
    }
  g_mutex_unlock (&self->jobs->gate);
  return ok;
}

#ifdef FIXTURE_SERVE
static gboolean
fixture_serve (GantryFrontend *frontend, GCancellable *cancellable, GError **error)
{
  Fixture *self = (Fixture *)frontend;
  const char *path = gantry_host_get_config_string (self->host, "ServeWaitFor", "/");

  if (access (path, F_OK) < 0)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "%s is not there yet", path);
  if (strcmp (gantry_host_get_config_string (self->host, "Serve", "ok"), "fail") == 0)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "the address is taken");
  gantry_host_log (self->host, GANTRY_LOG_NOTICE, "serves");
  return TRUE;
}

static void
fixture_stop (GantryFrontend *frontend, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  gantry_host_log (((Fixture *)frontend)->host, GANTRY_LOG_NOTICE, "stops serving");
  done (user_data);
}

static const GantryFrontendVtable vtable
    = { .size = sizeof (GantryFrontendVtable), .serve = fixture_serve, .stop = fixture_stop };
#else
static void
slot (void)
{
}

static const FixtureVtable vtable = {
#ifdef FIXTURE_SMALL
  .size = GANTRY_SIZE_UP_TO (FixtureVtable, first),
#else
  .size = sizeof (FixtureVtable),
#endif
  .first = slot,
  .second = slot,
};
#endif

static gboolean
fixture_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  g_autoptr (Fixture) self = NULL;

  if (!conduct (host, error))
    return FALSE;
  self = g_new0 (Fixture, 1);
  self->jobs = g_atomic_rc_box_new0 (Jobs);
  g_mutex_init (&self->jobs->gate);
  self->frontend.vtable = (gconstpointer)&vtable;
  self->host = host;
#ifdef FIXTURE_NEED
  if (!use_need (self, error))
    return FALSE;
  if (FIXTURE_KIND == GANTRY_NEED_OPTIONAL)
    {
      self->introspection = gantry_host_lookup (host, GANTRY_INTROSPECTION_TYPE, NULL, error);
      if (self->introspection == NULL)
        return FALSE;
      self->watch = self->introspection->vtable->watch (self->introspection, on_changed, self);
    }
#endif
  if (!submit_jobs (self, error))
    return FALSE;
  *ret_instance = g_steal_pointer (&self);
  return TRUE;
}

static gpointer
fixture_get (gpointer instance, const char *type)
{
  return instance;
}

static void
fixture_fini (gpointer instance)
{
  Fixture *self = instance;

  if (self == NULL)
    return;
  if (self->jobs->n > 0)
    gantry_host_log (self->host, GANTRY_LOG_NOTICE, "%d jobs have run", self->jobs->n);
  gantry_host_log (self->host, GANTRY_LOG_NOTICE, "has ended");
  fixture_free (self);
}

static const GantryProvide provide = { sizeof (GantryProvide), FIXTURE_PROVIDES };
static const GantryProvide *const provides[] = { &provide, NULL };
#ifdef FIXTURE_NEED
static const GantryNeed need = GANTRY_NEED_INIT (FIXTURE_NEED, NULL, FIXTURE_MIN_SIZE, FIXTURE_KIND);
static const GantryNeed introspection
    = GANTRY_NEED_INIT (GANTRY_INTROSPECTION_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed *const needs[]
    = { &need, FIXTURE_KIND == GANTRY_NEED_OPTIONAL ? &introspection : NULL, NULL };
#else
static const GantryNeed *const needs[] = { NULL };
#endif
static const char *const config_keys[]
    = { "Init", "WaitFor", "Meet", "MeetAs", "Threads", "Serve", "ServeWaitFor", NULL };
static const char *const config_defaults[]
    = { "Init=ok", "WaitFor=", "Meet=", "MeetAs=r", "Threads=0", "Serve=ok", "ServeWaitFor=/", NULL };

static const GantryPluginDesc desc = {
  .size = FIXTURE_DESC_SIZE,
  .abi_major = FIXTURE_ABI,
  .name = FIXTURE_NAME,
  .version = "1.2.3",
  .license = "LGPL-2.1-or-later",
  .description = "A fixture",
  .provides = provides,
  .needs = needs,
  .init = fixture_init,
  .get = fixture_get,
  .fini = fixture_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return FIXTURE_RETURN;
}
