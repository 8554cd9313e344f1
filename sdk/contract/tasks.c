/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.tasks.v1. Containers bring a spec with a root of their own, so no image is
 * needed. */
#include <gantry/tasks.h>

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites.h"

#define NS      "contract"
#define BUSYBOX "/bin/busybox"

/* What a wait said. */
typedef struct
{
  gboolean called;
  guint32 status;
  gboolean failed;
} Exit;

static GantryTasks *
tasks_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static gboolean
can_run (GantryContractFixture *fixture)
{
  if (fixture->restart == NULL || (geteuid () == 0 && g_file_test (BUSYBOX, G_FILE_TEST_IS_EXECUTABLE)))
    return TRUE;
  g_test_skip ("running containers takes root and " BUSYBOX);
  return FALSE;
}

/* A root file system whose programs are busybox's, made once a case. Returns: (transfer full). */
static char *
make_root (GantryContractFixture *fixture)
{
  static const char *const names[] = { "bin", "proc", "dev", "bin/sh", "bin/sleep", "bin/true" };
  g_autofree char *root = g_build_filename (fixture->scratch, "rootfs", NULL);
  g_autofree char *program = NULL;
  gsize length;

  if (fixture->restart == NULL || g_file_test (root, G_FILE_TEST_EXISTS))
    return g_steal_pointer (&root);
  g_assert_true (g_file_get_contents (BUSYBOX, &program, &length, NULL));
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (root, names[i], NULL);

      if (strchr (names[i], '/') == NULL)
        g_assert_cmpint (g_mkdir_with_parents (path, 0755), ==, 0);
      else
        {
          g_assert_true (g_file_set_contents (path, program, (gssize)length, NULL));
          g_assert_cmpint (chmod (path, 0755), ==, 0);
        }
    }
  return g_steal_pointer (&root);
}

/* Options with a whole spec; @args are JSON. Returns: (transfer floating). */
static GVariant *
make_options (GantryContractFixture *fixture, const char *id, const char *args)
{
  g_autofree char *root = make_root (fixture);
  g_autofree char *spec = g_strdup_printf (
      "{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": 0, \"gid\": 0}, \"args\": [%s], "
      "\"env\": [\"PATH=/bin\"],"
      " \"cwd\": \"/\"}, \"root\": {\"path\": \"%s\"},"
      " \"mounts\": [{\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"}],"
      " \"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"mount\"}],"
      " \"cgroupsPath\": \"/gantry-contract/%d-tasks-%s\"}}",
      args, root, (int)getpid (), id);

  return g_variant_new_parsed ("{'spec': <%s>, 'labels': <{'a': '1'}>}", spec);
}

static void
make_container (GantryContractFixture *fixture, const char *id, const char *args)
{
  g_autoptr (GantryRecord) record = NULL;

  CONTRACT_OK (gantry_tasks_create_container (tasks_of (fixture), NS, id, NULL,
                                              make_options (fixture, id, args), &record, NULL, &error));
  g_assert_cmpstr (record->id, ==, id);
  g_assert_cmpstr (gantry_labels_lookup (record->labels, "a"), ==, "1");
}

static void
make_task (GantryContractFixture *fixture, const char *id, const char *args)
{
  g_autoptr (GantryProcess) process = NULL;

  make_container (fixture, id, args);
  CONTRACT_OK (
      gantry_tasks_create_task (tasks_of (fixture), NS, id, NULL, NULL, NULL, NULL, &process, NULL, &error));
  g_assert_cmpint (process->status, ==, GANTRY_TASK_CREATED);
}

static void
on_exit_of (GantryProcess *process, const GError *error, gpointer user_data)
{
  Exit *self = user_data;

  g_assert_false (self->called);
  self->called = TRUE;
  self->failed = error != NULL;
  self->status = process != NULL ? process->exit_status : 0;
}

static gboolean
is_called (gpointer data)
{
  return ((Exit *)data)->called;
}

static guint64
wait_for (GantryContractFixture *fixture, const char *id, Exit *end)
{
  guint64 wait = 0;

  *end = (Exit){ FALSE, 0, FALSE };
  CONTRACT_OK (gantry_tasks_wait (tasks_of (fixture), NS, id, "", on_exit_of, end, &wait, NULL, &error));
  return wait;
}

static void
delete_all (GantryContractFixture *fixture, const char *id)
{
  GantryRecord *none = NULL;

  CONTRACT_OK (gantry_tasks_delete_container (tasks_of (fixture), NS, id, TRUE, TRUE, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_metadata_get (fixture->get (fixture, GANTRY_METADATA_TYPE), GANTRY_KIND_CONTAINER,
                                       NS, id, &none, NULL, &error));
}

static void
test_life (GantryContractFixture *fixture)
{
  GantryTasks *tasks = tasks_of (fixture);
  g_autoptr (GantryProcess) ended = NULL;
  g_autoptr (GantryProcess) removed = NULL;
  GantryProcess *none = NULL;
  Exit first, late;

  if (!can_run (fixture))
    return;
  make_task (fixture, "life", "\"sh\", \"-c\", \"exit 7\"");
  wait_for (fixture, "life", &first);
  CONTRACT_OK (gantry_tasks_start (tasks, NS, "life", "", NULL, NULL, &error));
  gantry_contract_wait (is_called, &first, "an exit");
  g_assert_false (first.failed);
  g_assert_cmpuint (first.status, ==, 7);
  /* Whoever waits for one that has ended hears it as well. */
  wait_for (fixture, "life", &late);
  gantry_contract_wait (is_called, &late, "an exit that was before");
  g_assert_cmpuint (late.status, ==, 7);
  CONTRACT_OK (gantry_tasks_get (tasks, NS, "life", "", &ended, NULL, &error));
  g_assert_cmpint (ended->status, ==, GANTRY_TASK_STOPPED);
  CONTRACT_OK (gantry_tasks_delete_task (tasks, NS, "life", "", &removed, NULL, &error));
  g_assert_cmpuint (removed->exit_status, ==, 7);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "life",
                         gantry_tasks_get (tasks, NS, "life", "", &none, NULL, &error));
  delete_all (fixture, "life");
}

static void
test_containers (GantryContractFixture *fixture)
{
  GantryTasks *tasks = tasks_of (fixture);
  GantryRecord *none = GANTRY_CONTRACT_UNTOUCHED;

  if (!can_run (fixture))
    return;
  make_container (fixture, "c", "\"true\"");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "c",
                         gantry_tasks_create_container (tasks, NS, "c", NULL,
                                                        make_options (fixture, "c", "\"true\""), &none, NULL,
                                                        &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_tasks_create_container (tasks, NS, "not a name", NULL,
                                                 make_options (fixture, "x", "\"true\""), &none, NULL,
                                                 &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "no-such-option",
                         gantry_tasks_create_container (tasks, NS, "d", NULL,
                                                        g_variant_new_parsed ("{'no-such-option': <1>}"),
                                                        &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "example.com/absent:1",
                         gantry_tasks_create_container (tasks, NS, "d", "example.com/absent:1", NULL, &none,
                                                        NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_tasks_delete_container (tasks, NS, "absent", TRUE, FALSE, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  delete_all (fixture, "c");
}

static void
test_absent (GantryContractFixture *fixture)
{
  GantryTasks *tasks = tasks_of (fixture);
  GantryProcess *none = GANTRY_CONTRACT_UNTOUCHED;
  Exit end = { FALSE, 0, FALSE };
  guint64 wait = 77;
  int log = -77;

  if (GANTRY_HAS (tasks->vtable, GantryTasksVtable, open_log))
    CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                           gantry_tasks_open_log (tasks, NS, "absent", FALSE, &log, NULL, &error));
  g_assert_cmpint (log, ==, -77);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_tasks_create_task (tasks, NS, "absent", NULL, NULL, NULL, NULL, &none, NULL,
                                                   &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_tasks_start (tasks, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_tasks_kill (tasks, NS, "absent", "", SIGKILL, FALSE, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_tasks_delete_task (tasks, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_tasks_get (tasks, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_tasks_wait (tasks, NS, "absent", "", on_exit_of, &end, &wait, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_tasks_pause (tasks, NS, "absent", NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_cmpuint (wait, ==, 77);
}

/* A container with a task stays, unless it is forced; a wait that was given up is not called. */
static void
test_running (GantryContractFixture *fixture)
{
  GantryTasks *tasks = tasks_of (fixture);
  g_autoptr (GPtrArray) list = NULL;
  GantryProcess *none = GANTRY_CONTRACT_UNTOUCHED;
  Exit given_up, kept;
  guint64 wait;

  if (!can_run (fixture))
    return;
  make_task (fixture, "busy", "\"sleep\", \"1000\"");
  CONTRACT_FAILS (GANTRY_ERROR_ALREADY_EXISTS,
                  gantry_tasks_create_task (tasks, NS, "busy", NULL, NULL, NULL, NULL, &none, NULL, &error));
  CONTRACT_OK (gantry_tasks_start (tasks, NS, "busy", "", NULL, NULL, &error));
  CONTRACT_OK (gantry_tasks_list (tasks, NS, &list, NULL, &error));
  g_assert_cmpuint (list->len, ==, 1);
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_tasks_delete_task (tasks, NS, "busy", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_tasks_delete_container (tasks, NS, "busy", TRUE, FALSE, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  wait = wait_for (fixture, "busy", &given_up);
  wait_for (fixture, "busy", &kept);
  gantry_tasks_unwait (tasks, wait);
  CONTRACT_OK (gantry_tasks_kill (tasks, NS, "busy", "", SIGKILL, FALSE, NULL, &error));
  gantry_contract_wait (is_called, &kept, "an exit");
  g_assert_cmpuint (kept.status, ==, 128 + SIGKILL);
  gantry_contract_spin ();
  g_assert_false (given_up.called);
  delete_all (fixture, "busy");
}

static void
on_task (GantryTaskEvent event, GantryProcess *process, gpointer user_data)
{
  (void)process;
  *(guint *)user_data |= 1u << event;
}

static gboolean
has_deleted (gpointer data)
{
  return (*(guint *)data & (1u << GANTRY_TASK_EVENT_DELETE)) != 0;
}

static void
test_watch (GantryContractFixture *fixture)
{
  GantryTasks *tasks = tasks_of (fixture);
  guint seen = 0, unseen = 0;
  guint64 watch, gone;
  Exit end;

  if (!can_run (fixture))
    return;
  watch = gantry_tasks_watch (tasks, on_task, &seen);
  gone = gantry_tasks_watch (tasks, on_task, &unseen);
  gantry_tasks_unwatch (tasks, gone);
  make_task (fixture, "seen", "\"true\"");
  wait_for (fixture, "seen", &end);
  CONTRACT_OK (gantry_tasks_start (tasks, NS, "seen", "", NULL, NULL, &error));
  gantry_contract_wait (is_called, &end, "an exit");
  CONTRACT_OK (gantry_tasks_delete_task (tasks, NS, "seen", "", NULL, NULL, &error));
  gantry_contract_wait (has_deleted, &seen, "the end of a task");
  g_assert_true (seen & (1u << GANTRY_TASK_EVENT_CREATE));
  g_assert_true (seen & (1u << GANTRY_TASK_EVENT_START));
  g_assert_true (seen & (1u << GANTRY_TASK_EVENT_EXIT));
  g_assert_cmpuint (unseen, ==, 0);
  gantry_tasks_unwatch (tasks, watch);
  delete_all (fixture, "seen");
}

static const GantryContractCase cases[] = {
  { "life", test_life },       { "containers", test_containers }, { "absent", test_absent },
  { "running", test_running }, { "watch", test_watch },           { NULL, NULL },
};

const GantryContractSuite gantry_contract_tasks = { GANTRY_TASKS_TYPE, cases };
