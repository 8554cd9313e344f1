/* SPDX-License-Identifier: MIT */
#include "contract.h"

#include <string.h>

#include "suites.h"

/* A sanitizer on a loaded machine takes its time; nothing waits this long unless it hangs. */
#define PATIENCE_US (180 * G_USEC_PER_SEC)

const char gantry_contract_untouched[] = "untouched";

/* clang-format off: one a line */
static const GantryContractSuite *const suites[] = {
  &gantry_contract_content,     &gantry_contract_differ,   &gantry_contract_event_log,
  &gantry_contract_events,      &gantry_contract_frontend, &gantry_contract_introspection,
  &gantry_contract_jobs,        &gantry_contract_metadata, &gantry_contract_mounts,
  &gantry_contract_registry,    &gantry_contract_runtime,  &gantry_contract_snapshot_index,
  &gantry_contract_snapshotter, &gantry_contract_store,    &gantry_contract_tasks,
  &gantry_contract_verifier,    &gantry_contract_transfer, NULL,
};
/* clang-format on */

typedef struct
{
  const GantryContractSuite *suite;
  const GantryContractCase *test;
  GantryContractOpen open;
  GantryContractClose close;
  gpointer user_data;
} Run;

const GantryContractSuite *const *
gantry_contract_list (void)
{
  return suites;
}

const GantryContractSuite *
gantry_contract_find (const char *type)
{
  for (gsize i = 0; suites[i] != NULL; i++)
    if (strcmp (suites[i]->type, type) == 0)
      return suites[i];
  return NULL;
}

static void
run_case (gconstpointer data)
{
  const Run *self = data;
  GantryContractFixture *fixture = self->open (self->suite, self->user_data);

  if (fixture->skip != NULL)
    g_test_skip (fixture->skip);
  else
    self->test->func (fixture);
  self->close (fixture);
}

void
gantry_contract_add (const char *prefix, const GantryContractSuite *suite, GantryContractOpen open,
                     GantryContractClose close, gpointer user_data)
{
  for (const GantryContractCase *test = suite->cases; test->name != NULL; test++)
    {
      g_autofree char *path = g_strconcat (prefix, "/", test->name, NULL);
      Run *run = g_new (Run, 1);

      *run = (Run){ suite, test, open, close, user_data };
      g_test_add_data_func_full (path, run, run_case, g_free);
    }
}

gboolean
gantry_contract_can_restart (GantryContractFixture *self)
{
  if (self->restart == NULL)
    g_test_skip ("it lives in memory");
  return self->restart != NULL;
}

void
gantry_contract_check_success (const char *where, const char *call, gboolean ok, GError *error)
{
  if (ok && error != NULL)
    g_error ("%s: %s succeeded, but set an error: %s", where, call, error->message);
  if (!ok)
    g_error ("%s: %s failed: %s", where, call, error != NULL ? error->message : "and set no error");
}

void
gantry_contract_check_failure (const char *where, const char *call, gboolean ok, GError *error,
                               GantryErrorCode code, const char *names)
{
  int class = error != NULL ? gantry_error_classify (error) : -1;

  if (ok)
    g_error ("%s: %s succeeded, and should have failed with %s", where, call,
             gantry_error_code_to_name (code));
  if (error == NULL)
    g_error ("%s: %s failed and set no error", where, call);
  if (class != (int)code)
    g_error ("%s: %s failed with %s (%s), and should have with %s", where, call,
             class >= 0 ? gantry_error_code_to_name (class) : g_quark_to_string (error->domain),
             error->message, gantry_error_code_to_name (code));
  if (error->message[0] == '\0' || strchr (error->message, '\n') != NULL
      || g_str_has_suffix (error->message, "."))
    g_error ("%s: %s: \"%s\" is not one sentence without a full stop", where, call, error->message);
  if (names != NULL && strstr (error->message, names) == NULL)
    g_error ("%s: %s: \"%s\" does not name %s", where, call, error->message, names);
  g_error_free (error);
}

GCancellable *
gantry_contract_cancelled (void)
{
  GCancellable *cancellable = g_cancellable_new ();

  g_cancellable_cancel (cancellable);
  return cancellable;
}

typedef struct
{
  guint i;
  GantryContractThreadFunc func;
  gpointer data;
  GMutex *gate;
} Racer;

static gpointer
race (gpointer data)
{
  Racer *self = data;

  g_mutex_lock (self->gate);
  g_mutex_unlock (self->gate);
  self->func (self->i, self->data);
  return NULL;
}

void
gantry_contract_race (guint n, GantryContractThreadFunc func, gpointer data)
{
  g_autofree Racer *racers = g_new (Racer, n);
  g_autofree GThread **threads = g_new (GThread *, n);
  GMutex gate;

  g_mutex_init (&gate);
  g_mutex_lock (&gate);
  for (guint i = 0; i < n; i++)
    {
      racers[i] = (Racer){ i, func, data, &gate };
      threads[i] = g_thread_new ("contract", race, &racers[i]);
    }
  g_mutex_unlock (&gate);
  for (guint i = 0; i < n; i++)
    g_thread_join (threads[i]);
  g_mutex_clear (&gate);
}

static gboolean
on_patience_end (gpointer data)
{
  *(gboolean *)data = TRUE;
  return G_SOURCE_CONTINUE;
}

void
gantry_contract_wait (gboolean (*done) (gpointer data), gpointer data, const char *what)
{
  gboolean late = FALSE;
  guint timer = g_timeout_add ((guint)(PATIENCE_US / 1000), on_patience_end, &late);

  while (!done (data))
    {
      if (late)
        g_error ("waited in vain for %s", what);
      g_main_context_iteration (NULL, TRUE);
    }
  g_source_remove (timer);
}

void
gantry_contract_spin (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

char *
gantry_contract_long_name (gsize length)
{
  return g_strnfill (length, 'n');
}

char *
gantry_contract_digest (gconstpointer data, gsize length)
{
  g_autofree char *hex = g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, length);

  return g_strconcat ("sha256:", hex, NULL);
}

static gboolean
has_all (GVariant *labels, GVariant *of)
{
  GVariantIter iter;
  const char *key, *value;

  if (of == NULL)
    return TRUE;
  g_variant_iter_init (&iter, of);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (g_strcmp0 (gantry_labels_lookup (labels, key), value) != 0)
      return FALSE;
  return TRUE;
}

gboolean
gantry_contract_same_labels (GVariant *a, GVariant *b)
{
  return has_all (a, b) && has_all (b, a);
}

GVariant *
gantry_contract_parse (const char *text)
{
  return gantry_variant_keep (g_variant_new_parsed (text));
}
