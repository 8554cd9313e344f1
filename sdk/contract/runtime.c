/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.runtime.v1. Programs run from a busybox that is linked statically; without one,
 * or without root, the cases are skipped, but for a runtime in memory, which only plays. */
#include <gantry/runtime.h>

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites.h"

#define NS        "contract"
#define BUSYBOX   "/bin/busybox"
#define N_THREADS 4

/* What the watch heard. */
typedef struct
{
  GPtrArray *events; /* (element-type utf8): "<id>/<exec id> <event>" */
  const char *wanted;
} Ear;

static GantryRuntime *
runtime_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static gboolean
in_memory (GantryContractFixture *fixture)
{
  return fixture->restart == NULL;
}

static gboolean
can_run (GantryContractFixture *fixture)
{
  if (in_memory (fixture) || (geteuid () == 0 && g_file_test (BUSYBOX, G_FILE_TEST_IS_EXECUTABLE)))
    return TRUE;
  g_test_skip ("running containers takes root and " BUSYBOX);
  return FALSE;
}

/* A root file system with busybox, made once a case. Returns: (transfer full): its path. */
static char *
make_root (GantryContractFixture *fixture)
{
  static const char *const dirs[] = { "bin", "proc", "dev", "tmp" };
  static const char *const links[] = { "sh", "cat", "sleep", "echo", "true" };
  g_autofree char *root = g_build_filename (fixture->scratch, "rootfs", NULL);
  g_autofree char *to = g_build_filename (root, "bin", "busybox", NULL);
  g_autofree char *program = NULL;
  gsize length;

  if (g_file_test (to, G_FILE_TEST_EXISTS))
    return g_steal_pointer (&root);
  for (gsize i = 0; i < G_N_ELEMENTS (dirs); i++)
    {
      g_autofree char *dir = g_build_filename (root, dirs[i], NULL);

      g_assert_cmpint (g_mkdir_with_parents (dir, 0755), ==, 0);
    }
  g_assert_true (g_file_get_contents (BUSYBOX, &program, &length, NULL));
  g_assert_true (g_file_set_contents (to, program, (gssize)length, NULL));
  g_assert_cmpint (chmod (to, 0755), ==, 0);
  for (gsize i = 0; i < G_N_ELEMENTS (links); i++)
    {
      g_autofree char *link = g_build_filename (root, "bin", links[i], NULL);

      g_assert_cmpint (symlink ("busybox", link), ==, 0);
    }
  return g_steal_pointer (&root);
}

static GPtrArray *
make_mounts (GantryContractFixture *fixture)
{
  static const char *const options[] = { "rbind", "rw", NULL };
  GPtrArray *mounts = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_autofree char *root = NULL;

  if (in_memory (fixture))
    return mounts;
  root = make_root (fixture);
  g_ptr_array_add (mounts, gantry_mount_new ("bind", root, NULL, options));
  return mounts;
}

/* The process object for the arguments @args, which are JSON: "\"cat\"". Returns: (transfer full). */
static char *
process_json (const char *args)
{
  return g_strdup_printf ("{\"terminal\": false, \"user\": {\"uid\": 0, \"gid\": 0}, \"args\": [%s],"
                          " \"env\": [\"PATH=/bin\"], \"cwd\": \"/\"}",
                          args);
}

static GantryTaskCreate *
make_create (GantryContractFixture *fixture, const char *ns, const char *id, const char *args,
             GantryStdio *stdio)
{
  g_autofree char *process = process_json (args);
  char *json = g_strdup_printf (
      "{\"ociVersion\": \"1.0.2\", \"process\": %s, \"root\": {\"path\": \"rootfs\"},"
      " \"mounts\": [{\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"},"
      /* Its own, for runc writes links there, and containers that are made at once share the root. */
      " {\"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}],"
      " \"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"mount\"}, {\"type\": \"ipc\"}, "
      "{\"type\": \"uts\"}],"
      " \"cgroupsPath\": \"/gantry-contract/%d-%s-%s\"}}",
      process, (int)getpid (), ns, id);
  g_autoptr (GBytes) spec = g_bytes_new_take (json, strlen (json));
  g_autoptr (GPtrArray) mounts = make_mounts (fixture);

  return gantry_task_create_new (ns, id, spec, mounts->len > 0 ? mounts : NULL, stdio);
}

static void
create (GantryContractFixture *fixture, const char *id, const char *args, GantryStdio *stdio)
{
  g_autoptr (GantryTaskCreate) what = make_create (fixture, NS, id, args, stdio);
  g_autoptr (GantryProcess) process = NULL;

  CONTRACT_OK (gantry_runtime_create (runtime_of (fixture), what, &process, NULL, &error));
  g_assert_cmpstr (process->ns, ==, NS);
  g_assert_cmpstr (process->id, ==, id);
  g_assert_cmpstr (process->exec_id, ==, "");
  g_assert_cmpuint (process->pid, >, 0);
}

static void
start (GantryContractFixture *fixture, const char *id, const char *exec_id)
{
  CONTRACT_OK (gantry_runtime_start (runtime_of (fixture), NS, id, exec_id, NULL, NULL, &error));
}

static GantryProcess *
state_of (GantryContractFixture *fixture, const char *id, const char *exec_id)
{
  GantryProcess *process = NULL;

  CONTRACT_OK (gantry_runtime_state (runtime_of (fixture), NS, id, exec_id, &process, NULL, &error));
  return process;
}

static void
assert_gone (GantryContractFixture *fixture, const char *id, const char *exec_id)
{
  GantryProcess *none = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_state (runtime_of (fixture), NS, id, exec_id, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
}

static void
on_task (GantryTaskEvent event, GantryProcess *process, gpointer user_data)
{
  static const char *const names[] = { "create", "start",  "exec-added", "exec-started", "exit",
                                       "oom",    "paused", "resumed",    "delete",       "checkpointed" };
  Ear *self = user_data;

  g_assert_cmpuint (event, <, G_N_ELEMENTS (names));
  g_ptr_array_add (self->events, g_strdup_printf ("%s/%s %s", process->id, process->exec_id, names[event]));
}

static Ear *
ear_new (GantryContractFixture *fixture)
{
  Ear *self = g_new0 (Ear, 1);

  self->events = g_ptr_array_new_with_free_func (g_free);
  runtime_of (fixture)->vtable->set_watch (runtime_of (fixture), on_task, self);
  return self;
}

static void
ear_free (GantryContractFixture *fixture, Ear *self)
{
  gantry_contract_spin ();
  runtime_of (fixture)->vtable->set_watch (runtime_of (fixture), NULL, NULL);
  g_ptr_array_unref (self->events);
  g_free (self);
}

static int
find_event (Ear *self, const char *text)
{
  for (guint i = 0; i < self->events->len; i++)
    if (strcmp (g_ptr_array_index (self->events, i), text) == 0)
      return (int)i;
  return -1;
}

static gboolean
has_wanted (gpointer data)
{
  Ear *self = data;

  return find_event (self, self->wanted) >= 0;
}

static void
ear_wait (Ear *self, const char *id, const char *exec_id, const char *event)
{
  g_autofree char *text = g_strdup_printf ("%s/%s %s", id, exec_id, event);

  self->wanted = text;
  gantry_contract_wait (has_wanted, self, text);
}

static void
remove_process (GantryContractFixture *fixture, const char *id, const char *exec_id, guint expected_status)
{
  g_autoptr (GantryProcess) process = NULL;

  CONTRACT_OK (gantry_runtime_remove (runtime_of (fixture), NS, id, exec_id, &process, NULL, &error));
  g_assert_cmpint (process->status, ==, GANTRY_TASK_STOPPED);
  g_assert_cmpuint (process->exit_status, ==, expected_status);
  g_assert_cmpint (process->exited_ns, >, 0);
  assert_gone (fixture, id, exec_id);
}

/* Kills a task and leaves nothing of it. */
static void
end_task (GantryContractFixture *fixture, Ear *ear, const char *id)
{
  CONTRACT_OK (gantry_runtime_kill (runtime_of (fixture), NS, id, "", SIGKILL, TRUE, NULL, &error));
  ear_wait (ear, id, "", "exit");
  remove_process (fixture, id, "", 128 + SIGKILL);
}

static void
test_life (GantryContractFixture *fixture)
{
  gint64 before = gantry_now_ns () - 2 * (gint64)1000000000;
  g_autoptr (GantryProcess) created = NULL;
  g_autoptr (GantryProcess) ended = NULL;
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "life", "\"sh\", \"-c\", \"exit 7\"", NULL);
  created = state_of (fixture, "life", "");
  g_assert_cmpint (created->status, ==, GANTRY_TASK_CREATED);
  start (fixture, "life", "");
  ear_wait (ear, "life", "", "exit");
  ended = state_of (fixture, "life", "");
  g_assert_cmpint (ended->status, ==, GANTRY_TASK_STOPPED);
  g_assert_cmpuint (ended->exit_status, ==, 7);
  g_assert_cmpint (ended->exited_ns, >, before);
  remove_process (fixture, "life", "", 7);
  ear_wait (ear, "life", "", "delete");
  g_assert_cmpint (find_event (ear, "life/ create"), >=, 0);
  g_assert_cmpint (find_event (ear, "life/ create"), <, find_event (ear, "life/ start"));
  g_assert_cmpint (find_event (ear, "life/ start"), <, find_event (ear, "life/ exit"));
  g_assert_cmpint (find_event (ear, "life/ exit"), <, find_event (ear, "life/ delete"));
  ear_free (fixture, ear);
}

static void
test_refusals (GantryContractFixture *fixture)
{
  GantryRuntime *runtime = runtime_of (fixture);
  g_autoptr (GantryTaskCreate) again = NULL;
  GantryProcess *none = GANTRY_CONTRACT_UNTOUCHED;
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "busy", "\"sleep\", \"1000\"", NULL);
  again = make_create (fixture, NS, "busy", "\"sleep\", \"1000\"", NULL);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "busy",
                         gantry_runtime_create (runtime, again, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  start (fixture, "busy", "");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_runtime_start (runtime, NS, "busy", "", NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_runtime_remove (runtime, NS, "busy", "", &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  end_task (fixture, ear, "busy");
  ear_free (fixture, ear);
}

static void
test_absent (GantryContractFixture *fixture)
{
  GantryRuntime *runtime = runtime_of (fixture);
  g_autofree char *json = process_json ("\"true\"");
  g_autoptr (GBytes) process = g_bytes_new (json, strlen (json));
  GantryProcess *none = GANTRY_CONTRACT_UNTOUCHED;
  GPtrArray *execs = GANTRY_CONTRACT_UNTOUCHED;
  GVariant *pids = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_runtime_start (runtime, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_remove (runtime, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_kill (runtime, NS, "absent", "", SIGKILL, FALSE, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_exec (runtime, NS, "absent", "e", process, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_state (runtime, NS, "absent", "", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_list_execs (runtime, NS, "absent", &execs, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_runtime_pids (runtime, NS, "absent", &pids, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_runtime_pause (runtime, NS, "absent", NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_runtime_resume (runtime, NS, "absent", NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_close_stdin (runtime, NS, "absent", "", NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_true (execs == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_true (pids == GANTRY_CONTRACT_UNTOUCHED);
}

/* What can't be run leaves nothing behind, whether create () finds it out or start (). */
static void
test_no_program (GantryContractFixture *fixture)
{
  g_autoptr (GantryTaskCreate) what = NULL;
  g_autoptr (GantryTaskCreate) bad = NULL;
  g_autoptr (GBytes) no_json = g_bytes_new_static ("no json", 7);
  GantryProcess *process = NULL;
  g_autoptr (GError) local = NULL;
  gboolean made;

  if (!can_run (fixture))
    return;
  what = make_create (fixture, NS, "none", "\"/bin/not-there\"", NULL);
  made = gantry_runtime_create (runtime_of (fixture), what, &process, NULL, &local);
  gantry_process_unref (process);
  if (made)
    {
      g_assert_false (gantry_runtime_start (runtime_of (fixture), NS, "none", "", NULL, NULL, &local));
      CONTRACT_OK (gantry_runtime_remove (runtime_of (fixture), NS, "none", "", NULL, NULL, &error));
    }
  g_assert_true (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND));
  g_assert_nonnull (strstr (local->message, "not-there"));
  assert_gone (fixture, "none", "");
  bad = gantry_task_create_new (NS, "bad", no_json, NULL, NULL);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_runtime_create (runtime_of (fixture), bad, &process, NULL, &error));
  assert_gone (fixture, "bad", "");
}

static void
test_kill (GantryContractFixture *fixture)
{
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "kill", "\"sleep\", \"1000\"", NULL);
  start (fixture, "kill", "");
  CONTRACT_OK (gantry_runtime_kill (runtime_of (fixture), NS, "kill", "", SIGKILL, FALSE, NULL, &error));
  ear_wait (ear, "kill", "", "exit");
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_runtime_kill (runtime_of (fixture), NS, "kill", "", SIGKILL, FALSE, NULL, &error));
  remove_process (fixture, "kill", "", 128 + SIGKILL);
  ear_free (fixture, ear);
}

/* One that was made and never started can be removed. */
static void
test_never_started (GantryContractFixture *fixture)
{
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "idle", "\"true\"", NULL);
  CONTRACT_OK (gantry_runtime_remove (runtime_of (fixture), NS, "idle", "", NULL, NULL, &error));
  assert_gone (fixture, "idle", "");
  ear_free (fixture, ear);
}

static void
test_exec (GantryContractFixture *fixture)
{
  GantryRuntime *runtime = runtime_of (fixture);
  g_autofree char *json = process_json ("\"sh\", \"-c\", \"exit 5\"");
  g_autoptr (GBytes) process = g_bytes_new (json, strlen (json));
  g_autoptr (GBytes) no_json = g_bytes_new_static ("no json", 7);
  g_autoptr (GPtrArray) execs = NULL;
  g_autoptr (GPtrArray) none_left = NULL;
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "host", "\"sleep\", \"1000\"", NULL);
  start (fixture, "host", "");
  CONTRACT_OK (gantry_runtime_exec (runtime, NS, "host", "one", process, NULL, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "one",
                         gantry_runtime_exec (runtime, NS, "host", "one", process, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_runtime_exec (runtime, NS, "host", "two", no_json, NULL, NULL, &error));
  CONTRACT_OK (gantry_runtime_list_execs (runtime, NS, "host", &execs, NULL, &error));
  g_assert_cmpuint (execs->len, ==, 1);
  g_assert_cmpstr (((GantryProcess *)g_ptr_array_index (execs, 0))->exec_id, ==, "one");
  start (fixture, "host", "one");
  ear_wait (ear, "host", "one", "exit");
  remove_process (fixture, "host", "one", 5);
  CONTRACT_OK (gantry_runtime_list_execs (runtime, NS, "host", &none_left, NULL, &error));
  g_assert_cmpuint (none_left->len, ==, 0);
  end_task (fixture, ear, "host");
  ear_free (fixture, ear);
}

static GantryStdio *
piped_stdio (int in, int out)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();

  g_assert_cmpint (g_unix_fd_list_append (fds, in, NULL), ==, 0);
  g_assert_cmpint (g_unix_fd_list_append (fds, out, NULL), ==, 1);
  return gantry_stdio_new ("fd:0", "fd:1", NULL, FALSE, fds);
}

/* A descriptor that is given is the process's own stream. */
static void
test_stdio (GantryContractFixture *fixture)
{
  g_autoptr (GantryStdio) stdio = NULL;
  char seen[16] = "";
  int in[2], out[2];
  gssize n;
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  g_assert_true (g_unix_open_pipe (in, FD_CLOEXEC, NULL));
  g_assert_true (g_unix_open_pipe (out, FD_CLOEXEC, NULL));
  stdio = piped_stdio (in[0], out[1]);
  create (fixture, "cat", "\"cat\"", stdio);
  start (fixture, "cat", "");
  g_clear_pointer (&stdio, gantry_stdio_unref);
  close (in[0]);
  close (out[1]);
  g_assert_cmpint (write (in[1], "hello\n", 6), ==, 6);
  n = read (out[0], seen, sizeof seen - 1);
  g_assert_cmpint (n, ==, 6);
  g_assert_cmpstr (seen, ==, "hello\n");
  /* The end of what it reads ends it. */
  close (in[1]);
  ear_wait (ear, "cat", "", "exit");
  remove_process (fixture, "cat", "", 0);
  close (out[0]);
  ear_free (fixture, ear);
}

static void
test_list (GantryContractFixture *fixture)
{
  GantryRuntime *runtime = runtime_of (fixture);
  g_autoptr (GPtrArray) own = NULL;
  g_autoptr (GPtrArray) everywhere = NULL;
  g_autoptr (GPtrArray) other = NULL;
  g_autoptr (GVariant) pids = NULL;
  g_autoptr (GantryProcess) process = NULL;
  guint32 pid = 0;
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "one", "\"sleep\", \"1000\"", NULL);
  start (fixture, "one", "");
  CONTRACT_OK (gantry_runtime_list (runtime, NS, &own, NULL, &error));
  CONTRACT_OK (gantry_runtime_list (runtime, NULL, &everywhere, NULL, &error));
  CONTRACT_OK (gantry_runtime_list (runtime, "other", &other, NULL, &error));
  g_assert_cmpuint (own->len, ==, 1);
  g_assert_cmpuint (everywhere->len, ==, 1);
  g_assert_cmpuint (other->len, ==, 0);
  process = state_of (fixture, "one", "");
  g_assert_cmpint (process->status, ==, GANTRY_TASK_RUNNING);
  CONTRACT_OK (gantry_runtime_pids (runtime, NS, "one", &pids, NULL, &error));
  g_assert_true (g_variant_is_of_type (pids, G_VARIANT_TYPE ("a(us)")));
  g_assert_cmpuint (g_variant_n_children (pids), >=, 1);
  g_variant_get_child (pids, 0, "(us)", &pid, NULL);
  g_assert_cmpuint (pid, ==, process->pid);
  end_task (fixture, ear, "one");
  ear_free (fixture, ear);
}

static void
test_pause (GantryContractFixture *fixture)
{
  GantryRuntime *runtime = runtime_of (fixture);
  g_autoptr (GantryProcess) paused = NULL;
  g_autoptr (GantryProcess) resumed = NULL;
  Ear *ear;

  if (!can_run (fixture) || !GANTRY_CONTRACT_HAS (runtime, GantryRuntimeVtable, pause))
    return;
  ear = ear_new (fixture);
  create (fixture, "ice", "\"sleep\", \"1000\"", NULL);
  start (fixture, "ice", "");
  CONTRACT_OK (gantry_runtime_pause (runtime, NS, "ice", NULL, &error));
  paused = state_of (fixture, "ice", "");
  g_assert_cmpint (paused->status, ==, GANTRY_TASK_PAUSED);
  CONTRACT_OK (gantry_runtime_resume (runtime, NS, "ice", NULL, &error));
  resumed = state_of (fixture, "ice", "");
  g_assert_cmpint (resumed->status, ==, GANTRY_TASK_RUNNING);
  end_task (fixture, ear, "ice");
  ear_free (fixture, ear);
}

/* Tasks outlive the daemon: those that run are there again, and those that have ended keep their exit. */
static void
test_restart (GantryContractFixture *fixture)
{
  g_autoptr (GantryProcess) before = NULL;
  g_autoptr (GantryProcess) after = NULL;
  g_autoptr (GantryProcess) ended = NULL;
  Ear *ear;

  if (!gantry_contract_can_restart (fixture) || !can_run (fixture))
    return;
  ear = ear_new (fixture);
  create (fixture, "runs", "\"sleep\", \"1000\"", NULL);
  start (fixture, "runs", "");
  create (fixture, "ends", "\"sh\", \"-c\", \"exit 9\"", NULL);
  start (fixture, "ends", "");
  ear_wait (ear, "ends", "", "exit");
  before = state_of (fixture, "runs", "");
  ear_free (fixture, ear);
  fixture->restart (fixture);
  ear = ear_new (fixture);
  after = state_of (fixture, "runs", "");
  g_assert_cmpint (after->status, ==, GANTRY_TASK_RUNNING);
  g_assert_cmpuint (after->pid, ==, before->pid);
  ended = state_of (fixture, "ends", "");
  g_assert_cmpint (ended->status, ==, GANTRY_TASK_STOPPED);
  g_assert_cmpuint (ended->exit_status, ==, 9);
  remove_process (fixture, "ends", "", 9);
  end_task (fixture, ear, "runs");
  ear_free (fixture, ear);
}

static void
create_and_start (guint i, gpointer data)
{
  g_autofree char *id = g_strdup_printf ("t%u", i);
  g_autofree char *args = g_strdup_printf ("\"sh\", \"-c\", \"exit %u\"", i + 1);

  create (data, id, args, NULL);
  start (data, id, "");
}

static void
test_threads (GantryContractFixture *fixture)
{
  Ear *ear;

  if (!can_run (fixture))
    return;
  ear = ear_new (fixture);
  if (!in_memory (fixture))
    g_free (make_root (fixture));
  gantry_contract_race (N_THREADS, create_and_start, fixture);
  for (guint i = 0; i < N_THREADS; i++)
    {
      g_autofree char *id = g_strdup_printf ("t%u", i);

      ear_wait (ear, id, "", "exit");
      remove_process (fixture, id, "", i + 1);
    }
  ear_free (fixture, ear);
}

static const GantryContractCase cases[] = {
  { "life", test_life },
  { "refusals", test_refusals },
  { "absent", test_absent },
  { "no-program", test_no_program },
  { "kill", test_kill },
  { "never-started", test_never_started },
  { "exec", test_exec },
  { "stdio", test_stdio },
  { "list", test_list },
  { "pause", test_pause },
  { "restart", test_restart },
  { "threads", test_threads },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_runtime = { GANTRY_RUNTIME_TYPE, cases };
