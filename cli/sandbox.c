/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry sandbox. */
#include "cli.h"

#include <string.h>

static void
add_listed (GPtrArray *rows, GVariant *info, gboolean quiet)
{
  g_autoptr (GVariant) labels = g_variant_lookup_value (info, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autofree char *text = cli_labels (labels), *ago = NULL, *process = NULL;
  const char *status = cli_string (info, "status");
  gint64 created = 0;
  guint32 pid = 0;

  g_variant_lookup (info, "created", "x", &created);
  g_variant_lookup (info, "pid", "u", &pid);
  ago = cli_ago (created);
  process = pid > 0 && strcmp (status, "stopped") != 0 ? g_strdup_printf ("%u", pid) : g_strdup ("-");
  if (quiet)
    cli_add_row (rows, "%s", cli_string (info, "id"));
  else
    cli_add_row (rows, "%s\t%s\t%s\t%s\t%s", cli_string (info, "id"), status[0] != '\0' ? status : "-",
                 process, ago, text);
}

static GVariant *
get_info (gpointer sandbox)
{
  return gantry_sandbox_get_info (sandbox);
}

static int
sandbox_ls (int argc, char **argv)
{
  gboolean quiet = FALSE;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[] = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Ids only", NULL },
                                   { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters,
                                     "Only those that match, as labels.a==b", "FILTER" },
                                   { NULL } };
  g_autoptr (GPtrArray) sandboxes = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "sandbox ls", "",
                  "Lists sandboxes, and of each the process that holds its namespaces.", entries, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL)
    return 1;
  sandboxes = gantry_namespace_list_sandboxes (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (sandboxes == NULL)
    return cli_fail_error (error);
  cli_print_list (sandboxes, get_info, "SANDBOX\tSTATUS\tPID\tCREATED\tLABELS", add_listed, quiet);
  return 0;
}

/* How the task of a sandbox is made. */
typedef struct
{
  char *netns;
  char **annotations;
} TaskOptions;

#define TASK_ENTRIES(task)                                                                                   \
  { "netns", 0, 0, G_OPTION_ARG_FILENAME, &(task).netns, "Use this network namespace [a new one]", "PATH" }, \
  {                                                                                                          \
    "annotation", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(task).annotations, "Annotation of its spec", "K=V"      \
  }

static void
task_options_clear (TaskOptions *task)
{
  g_free (task->netns);
  g_strfreev (task->annotations);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TaskOptions, task_options_clear)

static gboolean
create_task (GantrySandbox *sandbox, const TaskOptions *task, GError **error)
{
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  if (task->netns != NULL)
    g_variant_dict_insert (&options, "netns", "s", task->netns);
  if (task->annotations != NULL)
    g_variant_dict_insert_value (&options, "annotations", cli_pairs (task->annotations));
  return gantry_sandbox_create_task (sandbox, g_variant_dict_end (&options), NULL, error) >= 0;
}

static int
sandbox_create (int argc, char **argv)
{
  g_auto (TaskOptions) task = { 0 };
  g_autofree char *runtime = NULL, *spec = NULL, *text = NULL;
  g_auto (GStrv) labels = NULL;
  const GOptionEntry entries[]
      = { TASK_ENTRIES (task),
          { "runtime", 0, 0, G_OPTION_ARG_STRING, &runtime, "What runs it [runc]", "NAME" },
          { "spec", 0, 0, G_OPTION_ARG_FILENAME, &spec, "What it runs: an OCI spec as JSON [a pause]",
            "FILE" },
          { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &labels, "Label", "K=V" },
          { NULL } };
  g_autoptr (GantrySandbox) sandbox = NULL;
  GError *error = NULL;
  GVariantDict fields;

  if (!cli_parse (
          &argc, &argv, "sandbox create", "ID",
          "Makes a sandbox, and the task that holds the namespaces which the containers of a pod join, "
          "and prints its id.\n\n"
          "  gantry sandbox create pod && gantry sandbox start pod\n"
          "  gantry sandbox ls\n"
          "  gantry run --network /proc/PID/ns/net …   (its PID, as listed)",
          entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("sandbox create", "create needs an id");
  if (spec != NULL && !g_file_get_contents (spec, &text, NULL, &error))
    return cli_fail_error (error);
  if (text != NULL && !g_utf8_validate (text, -1, NULL))
    return cli_fail ("%s is no JSON", spec);
  if (cli_namespace () == NULL)
    return 1;
  g_variant_dict_init (&fields, NULL);
  if (runtime != NULL)
    g_variant_dict_insert (&fields, "runtime", "s", runtime);
  if (text != NULL)
    g_variant_dict_insert (&fields, "spec", "s", text);
  if (labels != NULL)
    g_variant_dict_insert_value (&fields, "labels", cli_pairs (labels));
  sandbox = gantry_namespace_create_sandbox (cli_namespace (), argv[1], g_variant_dict_end (&fields), NULL,
                                             &error);
  if (sandbox == NULL)
    return cli_fail_error (error);
  if (!create_task (sandbox, &task, &error))
    {
      gantry_sandbox_delete (sandbox, FALSE, NULL, NULL);
      return cli_fail_error (error);
    }
  g_print ("%s\n", argv[1]);
  return 0;
}

/* Returns: (transfer full), or NULL after a message. */
static GantrySandbox *
find_sandbox (const char *id)
{
  GError *error = NULL;
  GantrySandbox *sandbox
      = cli_namespace () != NULL ? gantry_namespace_get_sandbox (cli_namespace (), id, NULL, &error) : NULL;

  if (error != NULL)
    cli_fail_error (error);
  return sandbox;
}

/* The sandbox of a verb that takes just one. */
static GantrySandbox *
only_sandbox (int *argc, char ***argv, const char *verb, const char *help, const GOptionEntry *entries,
              int *ret_status)
{
  g_autofree char *whole = g_strconcat ("sandbox ", verb, NULL);
  GantrySandbox *sandbox = NULL;

  *ret_status = CLI_USAGE;
  if (!cli_parse (argc, argv, whole, "SANDBOX", help, entries, FALSE))
    return NULL;
  if (*argc != 2)
    cli_usage (whole, "%s needs a sandbox", verb);
  else if ((sandbox = find_sandbox ((*argv)[1])) == NULL)
    *ret_status = 1;
  return sandbox;
}

static int
sandbox_start (int argc, char **argv)
{
  g_auto (TaskOptions) task = { 0 };
  const GOptionEntry entries[] = { TASK_ENTRIES (task), { NULL } };
  int status;
  g_autoptr (GantrySandbox) sandbox = only_sandbox (&argc, &argv, "start",
                                                    "Starts what holds the namespaces of a sandbox. One that "
                                                    "has ended gets a new task, with new namespaces; "
                                                    "the options are for that.",
                                                    entries, &status);
  g_autoptr (GVariant) details = NULL;
  GError *error = NULL;
  const char *has;

  if (sandbox == NULL)
    return status;
  details = gantry_sandbox_get_status (sandbox, NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  has = cli_string (details, "status");
  /* One that has ended is in the way of the next. */
  if (strcmp (has, "stopped") == 0 && !gantry_sandbox_shutdown (sandbox, NULL, &error))
    return cli_fail_error (error);
  if ((has[0] == '\0' || strcmp (has, "stopped") == 0) && !create_task (sandbox, &task, &error))
    return cli_fail_error (error);
  return cli_done (gantry_sandbox_start (sandbox, NULL, &error) >= 0, &error);
}

static int
sandbox_stop (int argc, char **argv)
{
  int seconds = 10, status = 0;
  const GOptionEntry entries[]
      = { { "time", 't', 0, G_OPTION_ARG_INT, &seconds, "Seconds before SIGKILL, at least 1 [10]", "N" },
          { NULL } };

  if (!cli_parse (
          &argc, &argv, "sandbox stop", "SANDBOX …",
          "Ends what holds the namespaces of sandboxes: SIGTERM, then SIGKILL to all that is in them.",
          entries, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("sandbox stop", "stop needs a sandbox");
  if (seconds < 1)
    return cli_usage ("sandbox stop", "--time is 1 or more");
  for (int i = 1; i < argc; i++)
    {
      g_autoptr (GantrySandbox) sandbox = find_sandbox (argv[i]);
      GError *error = NULL;

      status |= sandbox == NULL
                    ? 1
                    : cli_done (gantry_sandbox_stop (sandbox, (guint)seconds, NULL, &error), &error);
    }
  return status;
}

static int
sandbox_wait (int argc, char **argv)
{
  int status;
  g_autoptr (GantrySandbox) sandbox = only_sandbox (
      &argc, &argv, "wait",
      "Waits until what holds the namespaces of a sandbox has ended and prints its exit status.", NULL,
      &status);
  GError *error = NULL;
  gint64 exit_status;

  if (sandbox == NULL)
    return status;
  exit_status = gantry_sandbox_wait (sandbox, NULL, &error);
  if (exit_status < 0)
    return cli_fail_error (error);
  g_print ("%d\n", (int)exit_status);
  return 0;
}

static int
sandbox_inspect (int argc, char **argv)
{
  int status;
  g_autoptr (GantrySandbox) sandbox
      = only_sandbox (&argc, &argv, "inspect", "Shows all that is known of a sandbox, as JSON.", NULL,
                      &status);
  g_autoptr (GVariant) details = NULL;
  g_autoptr (JsonNode) node = NULL, spec = NULL;
  GError *error = NULL;

  if (sandbox == NULL)
    return status;
  details = gantry_sandbox_inspect (sandbox, NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  node = json_gvariant_serialize (details);
  /* A spec that is JSON itself is easier to read as such. */
  spec = json_from_string (cli_string (details, "spec"), NULL);
  if (spec != NULL && JSON_NODE_HOLDS_OBJECT (spec))
    json_object_set_member (json_node_get_object (node), "spec", g_steal_pointer (&spec));
  cli_print_node (node);
  return 0;
}

static int
sandbox_stats (int argc, char **argv)
{
  int status;
  g_autoptr (GantrySandbox) sandbox
      = only_sandbox (&argc, &argv, "stats", "Shows what the task of a sandbox uses, as JSON.", NULL,
                      &status);
  g_autoptr (GVariant) stats = NULL;
  GError *error = NULL;

  if (sandbox == NULL)
    return status;
  stats = gantry_sandbox_get_stats (sandbox, NULL, &error);
  if (stats == NULL)
    return cli_fail_error (error);
  cli_print_json (stats);
  return 0;
}

static int
sandbox_label (int argc, char **argv)
{
  g_autoptr (GantrySandbox) sandbox = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "sandbox label", "SANDBOX K=V …", "Sets labels; K= removes one.", NULL,
                  FALSE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("sandbox label", "label needs a sandbox and labels");
  sandbox = find_sandbox (argv[1]);
  if (sandbox == NULL)
    return 1;
  return cli_done (gantry_sandbox_set_labels (sandbox, cli_pairs (argv + 2), NULL, &error), &error);
}

static int
sandbox_rm (int argc, char **argv)
{
  gboolean force = FALSE;
  const GOptionEntry entries[]
      = { { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Kill what holds it first", NULL }, { NULL } };
  int status = 0;

  if (!cli_parse (&argc, &argv, "sandbox rm", "SANDBOX …", "Removes sandboxes.", entries, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("sandbox rm", "rm needs a sandbox");
  for (int i = 1; i < argc; i++)
    {
      g_autoptr (GantrySandbox) sandbox = find_sandbox (argv[i]);
      GError *error = NULL;

      status |= sandbox == NULL ? 1 : cli_done (gantry_sandbox_delete (sandbox, force, NULL, &error), &error);
    }
  return status;
}

int
cli_sandbox (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "ls", sandbox_ls, "List sandboxes" },
    { "create", sandbox_create, "Make one" },
    { "start", sandbox_start, "Start what holds its namespaces" },
    { "stop", sandbox_stop, "End that" },
    { "wait", sandbox_wait, "Wait until that has ended and print its status" },
    { "inspect", sandbox_inspect, "Show all that is known of one" },
    { "stats", sandbox_stats, "Show what it uses" },
    { "label", sandbox_label, "Set labels" },
    { "rm", sandbox_rm, "Remove some" },
  };

  return cli_dispatch ("sandbox", "Works on sandboxes: namespaces that the containers of a pod share.", verbs,
                       G_N_ELEMENTS (verbs), argc, argv);
}
