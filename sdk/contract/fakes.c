/* SPDX-License-Identifier: MIT */
#include "fakes.h"

#include <string.h>

#include "fake-content.h"
#include "fake-differ.h"
#include "fake-events.h"
#include "fake-frontend.h"
#include "fake-introspection.h"
#include "fake-jobs.h"
#include "fake-metadata.h"
#include "fake-registry.h"
#include "fake-runtime.h"
#include "fake-snapshot-index.h"
#include "fake-snapshotter.h"
#include "fake-store.h"
#include "fake-tasks.h"
#include "fake-transfer.h"
#include "fake-mounts.h"
#include "fake-verifier.h"

typedef struct
{
  const char *type;
  gpointer (*make) (GantryFakes *set);
  void (*end) (gpointer instance);
} Kind;

typedef struct
{
  const Kind *kind;
  gpointer instance;
} Made;

struct _GantryFakes
{
  GArray *made; /* (element-type Made), in the order of their making */
};

/* A maker that needs no other fake, and a free function, with the types that the table wants. */
#define DEFINE_FAKE(name, Type)                                                                              \
  static gpointer make_##name (GantryFakes *set)                                                             \
  {                                                                                                          \
    (void)set;                                                                                               \
    return gantry_fake_##name##_new ();                                                                      \
  }                                                                                                          \
  static void end_##name (gpointer instance)                                                                 \
  {                                                                                                          \
    gantry_fake_##name##_free ((Type *)instance);                                                            \
  }

DEFINE_FAKE (content, GantryContent)
DEFINE_FAKE (differ, GantryDiffer)
DEFINE_FAKE (event_log, GantryEventLog)
DEFINE_FAKE (jobs, GantryJobs)
DEFINE_FAKE (frontend, GantryFrontend)
DEFINE_FAKE (introspection, GantryIntrospection)
DEFINE_FAKE (registry, GantryRegistry)
DEFINE_FAKE (store, GantryStore)
DEFINE_FAKE (runtime, GantryRuntime)
DEFINE_FAKE (snapshot_index, GantrySnapshotIndex)
DEFINE_FAKE (snapshotter, GantrySnapshotter)
DEFINE_FAKE (mounts, GantryMounts)
DEFINE_FAKE (verifier, GantryVerifier)

static gpointer
make_events (GantryFakes *set)
{
  return gantry_fake_events_new (gantry_fakes_get (set, GANTRY_EVENT_LOG_TYPE));
}

static void
end_events (gpointer instance)
{
  gantry_fake_events_free (instance);
}

static gpointer
make_metadata (GantryFakes *set)
{
  return gantry_fake_metadata_new (gantry_fakes_get (set, GANTRY_EVENT_LOG_TYPE));
}

static void
end_metadata (gpointer instance)
{
  gantry_fake_metadata_free (instance);
}

static gpointer
make_tasks (GantryFakes *set)
{
  return gantry_fake_tasks_new (gantry_fakes_get (set, GANTRY_METADATA_TYPE),
                                gantry_fakes_get (set, GANTRY_RUNTIME_TYPE));
}

static void
end_tasks (gpointer instance)
{
  gantry_fake_tasks_free (instance);
}

static gpointer
make_transfer (GantryFakes *set)
{
  return gantry_fake_transfer_new (gantry_fakes_get (set, GANTRY_METADATA_TYPE));
}

static void
end_transfer (gpointer instance)
{
  gantry_fake_transfer_free (instance);
}

static const Kind kinds[] = {
  { GANTRY_CONTENT_TYPE, make_content, end_content },
  { GANTRY_DIFFER_TYPE, make_differ, end_differ },
  { GANTRY_EVENT_LOG_TYPE, make_event_log, end_event_log },
  { GANTRY_EVENTS_TYPE, make_events, end_events },
  { GANTRY_METADATA_TYPE, make_metadata, end_metadata },
  { GANTRY_JOBS_TYPE, make_jobs, end_jobs },
  { GANTRY_FRONTEND_TYPE, make_frontend, end_frontend },
  { GANTRY_INTROSPECTION_TYPE, make_introspection, end_introspection },
  { GANTRY_REGISTRY_TYPE, make_registry, end_registry },
  { GANTRY_STORE_TYPE, make_store, end_store },
  { GANTRY_RUNTIME_TYPE, make_runtime, end_runtime },
  { GANTRY_TASKS_TYPE, make_tasks, end_tasks },
  { GANTRY_TRANSFER_TYPE, make_transfer, end_transfer },
  { GANTRY_SNAPSHOT_INDEX_TYPE, make_snapshot_index, end_snapshot_index },
  { GANTRY_SNAPSHOTTER_TYPE, make_snapshotter, end_snapshotter },
  { GANTRY_MOUNTS_TYPE, make_mounts, end_mounts },
  { GANTRY_VERIFIER_TYPE, make_verifier, end_verifier },
};

GantryFakes *
gantry_fakes_new (void)
{
  GantryFakes *self = g_new0 (GantryFakes, 1);

  self->made = g_array_new (FALSE, FALSE, sizeof (Made));
  return self;
}

void
gantry_fakes_free (GantryFakes *self)
{
  if (self == NULL)
    return;
  while (self->made->len > 0)
    {
      Made last = g_array_index (self->made, Made, self->made->len - 1);

      g_array_set_size (self->made, self->made->len - 1);
      last.kind->end (last.instance);
    }
  g_array_unref (self->made);
  g_free (self);
}

gpointer
gantry_fakes_get (GantryFakes *self, const char *type)
{
  for (guint i = 0; i < self->made->len; i++)
    if (strcmp (g_array_index (self->made, Made, i).kind->type, type) == 0)
      return g_array_index (self->made, Made, i).instance;
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (strcmp (kinds[i].type, type) == 0)
      {
        Made made = { &kinds[i], kinds[i].make (self) };

        g_array_append_val (self->made, made);
        return made.instance;
      }
  return NULL;
}
