/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.metadata.v1: leases, garbage collection and events. */
#include <string.h>

#include "metadata-cases.h"

GantryRecord *
must_get (GantryContractFixture *fixture, const char *kind, const char *ns, const char *id)
{
  GantryRecord *record = NULL;

  CONTRACT_OK (gantry_metadata_get (metadata_of (fixture), kind, ns, id, &record, NULL, &error));
  g_assert_cmpstr (record->id, ==, id);
  return record;
}

GantryRecord *
make_change (GantryContractFixture *fixture, GantryChangeKind kind, GantryRecord *record,
             const char *const *mask)
{
  g_autoptr (GantryChange) change = gantry_change_new (kind, record);
  GantryRecord *became = NULL;

  change->mask = g_strdupv ((char **)mask);
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), change, &became, NULL, &error));
  g_assert_nonnull (became);
  return became;
}

void
fail_change (GantryContractFixture *fixture, GantryChangeKind kind, GantryRecord *record,
             const char *const *mask, GantryErrorCode code)
{
  g_autoptr (GantryChange) change = gantry_change_new (kind, record);

  change->mask = g_strdupv ((char **)mask);
  CONTRACT_FAILS (code, gantry_metadata_apply_one (metadata_of (fixture), change, NULL, NULL, &error));
}

GantryRecord *
make (GantryContractFixture *fixture, const char *kind, const char *ns, const char *id, const char *labels,
      const char *fields)
{
  g_autoptr (GantryRecord) record
      = gantry_record_new (kind, ns, id, labels != NULL ? g_variant_new_parsed (labels) : NULL,
                           fields != NULL ? g_variant_new_parsed (fields) : NULL);

  return make_change (fixture, GANTRY_CHANGE_CREATE, record, NULL);
}

void
hold (GantryContractFixture *fixture, const char *lease, const char *kind, const char *id, gboolean add)
{
  g_autoptr (GantryRecord) record = gantry_record_new (kind, "default", id, NULL, NULL);
  g_autoptr (GantryChange) change
      = gantry_change_new (add ? GANTRY_CHANGE_LEASE_ADD : GANTRY_CHANGE_LEASE_REMOVE, record);

  change->lease = g_strdup (lease);
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), change, NULL, NULL, &error));
}

void
assert_labels (GantryRecord *record, const char *text)
{
  g_autoptr (GVariant) expected = gantry_contract_parse (text);

  g_assert_true (gantry_contract_same_labels (record->labels, expected));
}

void
assert_same_labels (GantryRecord *a, GantryRecord *b)
{
  g_assert_true (gantry_contract_same_labels (a->labels, b->labels));
}

static void
put_content (GantryContractFixture *fixture, const char *ns, const char *digest, const char *labels)
{
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTENT, ns, digest, labels, "{'size': <@t 10>}"));
}

static GPtrArray *
collect (GantryContractFixture *fixture, gboolean dry_run)
{
  GPtrArray *garbage = NULL;

  CONTRACT_OK (gantry_metadata_collect (metadata_of (fixture), dry_run, &garbage, NULL, &error));
  g_assert_nonnull (garbage);
  return garbage;
}

static int
find_garbage (GPtrArray *garbage, const char *id)
{
  for (guint i = 0; i < garbage->len; i++)
    if (strcmp (((GantryGarbage *)g_ptr_array_index (garbage, i))->id, id) == 0)
      return (int)i;
  return -1;
}

static gboolean
exists (GantryContractFixture *fixture, const char *kind, const char *ns, const char *id)
{
  g_autoptr (GantryRecord) record = NULL;

  return gantry_metadata_get (metadata_of (fixture), kind, ns, id, &record, NULL, NULL);
}

static void
assert_sound (GantryContractFixture *fixture)
{
  g_auto (GStrv) problems = NULL;

  CONTRACT_OK (gantry_metadata_verify (metadata_of (fixture), &problems, NULL, &error));
  for (gsize i = 0; problems[i] != NULL; i++)
    g_error ("the store is not sound: %s", problems[i]);
}

void
metadata_test_leases (GantryContractFixture *fixture)
{
  GantryMetadata *metadata = metadata_of (fixture);
  g_autoptr (GantryRecord) blob = gantry_record_new (GANTRY_KIND_CONTENT, "default", B, NULL, NULL);
  g_autoptr (GantryChange) create = gantry_change_new (GANTRY_CHANGE_CREATE, blob);
  g_autoptr (GantryChange) orphan = gantry_change_new (GANTRY_CHANGE_LEASE_ADD, blob);
  g_autoptr (GPtrArray) held = NULL;
  g_autoptr (GPtrArray) less = NULL;
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "l",
                         gantry_metadata_list_lease (metadata, "default", "l", &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  orphan->lease = g_strdup ("l");
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_metadata_apply_one (metadata, orphan, NULL, NULL, &error));
  gantry_record_unref (make (fixture, GANTRY_KIND_LEASE, "default", "l", NULL, NULL));
  /* A thing may be held before it is there, more than once, and as it is made. */
  hold (fixture, "l", GANTRY_KIND_CONTENT, A, TRUE);
  hold (fixture, "l", GANTRY_KIND_CONTENT, A, TRUE);
  create->lease = g_strdup ("l");
  CONTRACT_OK (gantry_metadata_apply_one (metadata, create, NULL, NULL, &error));
  CONTRACT_OK (gantry_metadata_list_lease (metadata, "default", "l", &held, NULL, &error));
  g_assert_cmpuint (held->len, ==, 2);
  g_assert_cmpstr (((GantryRecord *)g_ptr_array_index (held, 0))->kind, ==, GANTRY_KIND_CONTENT);
  g_assert_cmpstr (((GantryRecord *)g_ptr_array_index (held, 0))->ns, ==, "default");
  hold (fixture, "l", GANTRY_KIND_CONTENT, A, FALSE);
  CONTRACT_OK (gantry_metadata_list_lease (metadata, "default", "l", &less, NULL, &error));
  g_assert_cmpuint (less->len, ==, 1);
  g_assert_cmpstr (((GantryRecord *)g_ptr_array_index (less, 0))->id, ==, B);
}

static guint64
last_event (GantryContractFixture *fixture, GantryEventLog *log)
{
  (void)fixture;
  return gantry_event_log_get_last (log);
}

static GPtrArray *
events_after (GantryEventLog *log, guint64 cursor)
{
  GPtrArray *events = NULL;
  guint64 trimmed;

  CONTRACT_OK (gantry_event_log_read (log, cursor, 100, &events, &trimmed, NULL, &error));
  return events;
}

/* A change's event is in the log when apply () returns; that of a refused change never is. */
void
metadata_test_events (GantryContractFixture *fixture)
{
  GantryEventLog *log = fixture->get (fixture, GANTRY_EVENT_LOG_TYPE);
  g_autoptr (GantryRecord) web
      = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "web", NULL,
                           g_variant_new_parsed ("{'image': <'x'>, 'runtime': <'r'>}"));
  g_autoptr (GantryRecord) made = NULL;
  g_autoptr (GantryChange) silent = gantry_change_new (GANTRY_CHANGE_UPDATE, web);
  g_autoptr (GantryChange) custom = gantry_change_new (GANTRY_CHANGE_UPDATE, web);
  g_autoptr (GPtrArray) created = NULL;
  g_autoptr (GPtrArray) refused = NULL;
  g_autoptr (GPtrArray) changed = NULL;
  GantryEvent *event;
  const char *text = NULL;
  guint64 before;

  if (log == NULL)
    {
      g_test_skip ("there is no event log");
      return;
    }
  before = last_event (fixture, log);
  made = make_change (fixture, GANTRY_CHANGE_CREATE, web, NULL);
  created = events_after (log, before);
  g_assert_cmpuint (created->len, ==, 1);
  event = g_ptr_array_index (created, 0);
  g_assert_cmpstr (event->topic, ==, "/containers/create");
  g_assert_cmpstr (event->ns, ==, "default");
  g_assert_true (g_variant_lookup (event->payload, "id", "&s", &text));
  g_assert_cmpstr (text, ==, "web");
  g_assert_true (g_variant_lookup (event->payload, "image", "&s", &text));
  g_assert_cmpstr (text, ==, "x");
  before = last_event (fixture, log);
  fail_change (fixture, GANTRY_CHANGE_CREATE, web, NULL, GANTRY_ERROR_ALREADY_EXISTS);
  refused = events_after (log, before);
  g_assert_cmpuint (refused->len, ==, 0);
  silent->topic = g_strdup ("");
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), silent, NULL, NULL, &error));
  custom->topic = g_strdup ("/mine");
  custom->payload = g_variant_ref_sink (g_variant_new_parsed ("{'k': <'v'>}"));
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), custom, NULL, NULL, &error));
  gantry_record_unref (make_change (fixture, GANTRY_CHANGE_UPDATE, web, NULL));
  gantry_record_unref (make_change (fixture, GANTRY_CHANGE_DELETE, web, NULL));
  changed = events_after (log, before);
  g_assert_cmpuint (changed->len, ==, 3);
  g_assert_cmpstr (((GantryEvent *)g_ptr_array_index (changed, 0))->topic, ==, "/mine");
  g_assert_cmpstr (((GantryEvent *)g_ptr_array_index (changed, 1))->topic, ==, "/containers/update");
  g_assert_cmpstr (((GantryEvent *)g_ptr_array_index (changed, 2))->topic, ==, "/containers/delete");
}

/* Each kind that clients see has events of its own. */
void
metadata_test_events_of_kinds (GantryContractFixture *fixture)
{
  static const struct
  {
    const char *kind, *topic, *key;
  } kinds[] = {
    { GANTRY_KIND_IMAGE, "/images", "name" },
    { GANTRY_KIND_MOUNT, "/mounts", "name" },
    { GANTRY_KIND_SANDBOX, "/sandbox-records", "id" },
  };
  static const GantryChangeKind changes[]
      = { GANTRY_CHANGE_CREATE, GANTRY_CHANGE_UPDATE, GANTRY_CHANGE_DELETE };
  static const char *const verbs[] = { "create", "update", "delete" };
  GantryEventLog *log = fixture->get (fixture, GANTRY_EVENT_LOG_TYPE);

  if (log == NULL)
    {
      g_test_skip ("there is no event log");
      return;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autoptr (GantryRecord) record = gantry_record_new (kinds[i].kind, "default", "x",
                                                           g_variant_new_parsed ("@a{ss} {'a': 'b'}"), NULL);
      guint64 before = last_event (fixture, log);
      g_autoptr (GPtrArray) events = NULL;

      for (gsize j = 0; j < G_N_ELEMENTS (changes); j++)
        gantry_record_unref (make_change (fixture, changes[j], record, NULL));
      events = events_after (log, before);
      g_assert_cmpuint (events->len, ==, G_N_ELEMENTS (changes));
      for (gsize j = 0; j < G_N_ELEMENTS (changes); j++)
        {
          GantryEvent *event = g_ptr_array_index (events, j);
          g_autofree char *topic = g_strdup_printf ("%s/%s", kinds[i].topic, verbs[j]);
          const char *name = NULL;

          g_assert_cmpstr (event->topic, ==, topic);
          g_assert_true (g_variant_lookup (event->payload, kinds[i].key, "&s", &name));
          g_assert_cmpstr (name, ==, "x");
        }
    }
}

/* A image holds its manifest, which holds its config; everything that nothing holds goes. */
void
metadata_test_collect (GantryContractFixture *fixture)
{
  GantryMetadata *metadata = metadata_of (fixture);
  guint64 hint = gantry_metadata_get_garbage_hint (metadata);
  g_autoptr (GantryRecord) image = NULL;
  g_autoptr (GPtrArray) garbage = NULL;
  g_autoptr (GPtrArray) pending = NULL;
  g_autoptr (GPtrArray) done = NULL;
  g_autoptr (GPtrArray) rest = NULL;
  g_autoptr (GPtrArray) nothing = NULL;

  put_content (fixture, "default", A, "{'containerd.io/gc.ref.content.config': '" B "'}");
  put_content (fixture, "default", B, NULL);
  put_content (fixture, "default", C, NULL);
  put_content (fixture, "default", D, "{'containerd.io/gc.root': 'yes'}");
  put_content (fixture, "default", E, "{'containerd.io/gc.bref.image': 'x'}");
  image = make (fixture, GANTRY_KIND_IMAGE, "default", "x", NULL, IMAGE_OF (A));
  garbage = collect (fixture, FALSE);
  g_assert_cmpuint (garbage->len, ==, 1);
  g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, 0))->backend, ==, C);
  g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, 0))->kind, ==, GANTRY_KIND_CONTENT);
  g_assert_cmpuint (((GantryGarbage *)g_ptr_array_index (garbage, 0))->bytes, ==, 10);
  g_assert_false (exists (fixture, GANTRY_KIND_CONTENT, "default", C));
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", A));
  /* It is remembered until the backend has removed it. */
  CONTRACT_OK (gantry_metadata_pending_garbage (metadata, &pending, NULL, &error));
  g_assert_cmpint (find_garbage (pending, C), >=, 0);
  CONTRACT_OK (gantry_metadata_collected (metadata, garbage, NULL, &error));
  CONTRACT_OK (gantry_metadata_pending_garbage (metadata, &done, NULL, &error));
  g_assert_cmpuint (done->len, ==, 0);
  gantry_record_unref (make_change (fixture, GANTRY_CHANGE_DELETE, image, NULL));
  g_assert_cmpuint (gantry_metadata_get_garbage_hint (metadata), >, hint);
  rest = collect (fixture, FALSE);
  g_assert_cmpuint (rest->len, ==, 3);
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", D));
  nothing = collect (fixture, FALSE);
  g_assert_cmpuint (nothing->len, ==, 0);
  assert_sound (fixture);
}

void
metadata_test_collect_expired (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) manifest G_GNUC_UNUSED = NULL;
  g_autoptr (GPtrArray) garbage = NULL;

  gantry_record_unref (make (fixture, GANTRY_KIND_LEASE, "default", "old",
                             "{'containerd.io/gc.expire': '2001-01-01T00:00:00Z'}", NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_LEASE, "default", "valid",
                             "{'containerd.io/gc.expire': '2999-01-01T00:00:00Z'}", NULL));
  gantry_record_unref (
      make (fixture, GANTRY_KIND_LEASE, "default", "flat", "{'containerd.io/gc.flat': 'yes'}", NULL));
  put_content (fixture, "default", A, NULL);
  put_content (fixture, "default", B, "{'containerd.io/gc.ref.content': '" C "'}");
  put_content (fixture, "default", C, NULL);
  put_content (fixture, "default", D, "{'containerd.io/gc.ref.content': '" E "'}");
  put_content (fixture, "default", E, NULL);
  put_content (fixture, "default", F, "{'containerd.io/gc.expire': '2999-01-01T00:00:00+02:00'}");
  hold (fixture, "old", GANTRY_KIND_CONTENT, A, TRUE);
  hold (fixture, "valid", GANTRY_KIND_CONTENT, B, TRUE);
  hold (fixture, "flat", GANTRY_KIND_CONTENT, D, TRUE);
  garbage = collect (fixture, FALSE);
  g_assert_cmpint (find_garbage (garbage, A), >=, 0);
  g_assert_cmpint (find_garbage (garbage, E), >=, 0);
  g_assert_cmpuint (garbage->len, ==, 2);
  g_assert_false (exists (fixture, GANTRY_KIND_LEASE, "default", "old"));
  g_assert_true (exists (fixture, GANTRY_KIND_LEASE, "default", "valid"));
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", C));
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", D));
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", F));
  assert_sound (fixture);
}

/* Children come before their parents, and a container holds its snapshot with all of them. */
void
metadata_test_collect_snapshots (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) container = NULL;
  g_autoptr (GPtrArray) none = NULL;
  g_autoptr (GPtrArray) garbage = NULL;

  gantry_record_unref (
      make (fixture, GANTRY_KIND_SNAPSHOT, "default", "s/base", NULL, "{'kind': <@u 3>, 'backend': <'1'>}"));
  gantry_record_unref (make (fixture, GANTRY_KIND_SNAPSHOT, "default", "s/next", NULL,
                             "{'kind': <@u 3>, 'backend': <'2'>, 'parent': <'base'>}"));
  gantry_record_unref (make (fixture, GANTRY_KIND_SNAPSHOT, "default", "s/active", NULL,
                             "{'kind': <@u 2>, 'backend': <'3'>, 'parent': <'next'>}"));
  container = make (fixture, GANTRY_KIND_CONTAINER, "default", "web", NULL,
                    "{'snapshotter': <'s'>, 'snapshot-key': <'active'>}");
  none = collect (fixture, FALSE);
  g_assert_cmpuint (none->len, ==, 0);
  gantry_record_unref (make_change (fixture, GANTRY_CHANGE_DELETE, container, NULL));
  garbage = collect (fixture, FALSE);
  g_assert_cmpuint (garbage->len, ==, 3);
  g_assert_cmpint (find_garbage (garbage, "s/active"), ==, 0);
  g_assert_cmpint (find_garbage (garbage, "s/next"), ==, 1);
  g_assert_cmpint (find_garbage (garbage, "s/base"), ==, 2);
  g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, 0))->snapshotter, ==, "s");
  g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, 0))->backend, ==, "3");
  g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, 0))->kind, ==, GANTRY_KIND_SNAPSHOT);
}

/* A blob is garbage when no namespace has it any more; a label of one namespace holds nothing of another. */
void
metadata_test_collect_namespaces (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) image = NULL;
  g_autoptr (GPtrArray) none = NULL;
  g_autoptr (GPtrArray) garbage = NULL;

  put_content (fixture, "one", A, NULL);
  put_content (fixture, "two", A, NULL);
  image = make (fixture, GANTRY_KIND_IMAGE, "two", "x", NULL, IMAGE_OF (A));
  none = collect (fixture, FALSE);
  g_assert_cmpuint (none->len, ==, 0);
  g_assert_false (exists (fixture, GANTRY_KIND_CONTENT, "one", A));
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "two", A));
  gantry_record_unref (make_change (fixture, GANTRY_CHANGE_DELETE, image, NULL));
  garbage = collect (fixture, FALSE);
  g_assert_cmpuint (garbage->len, ==, 1);
}

void
metadata_test_collect_dry (GantryContractFixture *fixture)
{
  g_autoptr (GPtrArray) garbage = NULL;
  g_autoptr (GPtrArray) pending = NULL;
  g_autoptr (GPtrArray) again = NULL;

  put_content (fixture, "default", A, NULL);
  garbage = collect (fixture, TRUE);
  g_assert_cmpuint (garbage->len, ==, 1);
  g_assert_true (exists (fixture, GANTRY_KIND_CONTENT, "default", A));
  CONTRACT_OK (gantry_metadata_pending_garbage (metadata_of (fixture), &pending, NULL, &error));
  g_assert_cmpuint (pending->len, ==, 0);
  again = collect (fixture, TRUE);
  g_assert_cmpuint (again->len, ==, 1);
}

void
metadata_test_why (GantryContractFixture *fixture)
{
  GantryMetadata *metadata = metadata_of (fixture);
  g_auto (GStrv) path = NULL;
  g_auto (GStrv) nothing = NULL;
  char **untouched = GANTRY_CONTRACT_UNTOUCHED;

  put_content (fixture, "default", A, "{'containerd.io/gc.ref.content.config': '" B "'}");
  put_content (fixture, "default", B, NULL);
  put_content (fixture, "default", C, NULL);
  gantry_record_unref (make (fixture, GANTRY_KIND_IMAGE, "default", "x", NULL, IMAGE_OF (A)));
  CONTRACT_OK (gantry_metadata_why (metadata, GANTRY_KIND_CONTENT, "default", B, &path, NULL, &error));
  g_assert_cmpuint (g_strv_length (path), >=, 3);
  g_assert_nonnull (strstr (path[0], "image"));
  g_assert_nonnull (strstr (path[g_strv_length (path) - 1], B));
  CONTRACT_OK (gantry_metadata_why (metadata, GANTRY_KIND_CONTENT, "default", C, &nothing, NULL, &error));
  g_assert_cmpuint (g_strv_length (nothing), ==, 0);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, D,
                         gantry_metadata_why (metadata, GANTRY_KIND_CONTENT, "default", D, &untouched, NULL,
                                              &error));
  g_assert_true (untouched == GANTRY_CONTRACT_UNTOUCHED);
}
