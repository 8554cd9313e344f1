/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry job: what the daemon is at, whichever program began it. */
#include "cli.h"

#include <string.h>

static char *
done_so_far (GVariant *info)
{
  guint64 bytes = 0, total = 0;
  guint32 steps = 0, total_steps = 0;
  gboolean finished = FALSE;
  g_autofree char *done = NULL, *all = NULL;

  g_variant_lookup (info, "Finished", "b", &finished);
  if (finished)
    return g_strdup ("-");
  g_variant_lookup (info, "Bytes", "t", &bytes);
  g_variant_lookup (info, "TotalBytes", "t", &total);
  g_variant_lookup (info, "Steps", "u", &steps);
  g_variant_lookup (info, "TotalSteps", "u", &total_steps);
  if (bytes == 0 && total == 0)
    return total_steps > 0 ? g_strdup_printf ("%u / %u", steps, total_steps) : g_strdup ("-");
  done = g_format_size (bytes);
  all = total > 0 ? g_format_size (total) : NULL;
  return all != NULL ? g_strdup_printf ("%s / %s", done, all) : g_steal_pointer (&done);
}

/* One that has ended shows how. */
static const char *
state_of (GVariant *info)
{
  gboolean finished = FALSE;

  g_variant_lookup (info, "Finished", "b", &finished);
  if (!finished)
    return cli_string (info, "Phase");
  return cli_string (info, "ErrorName")[0] != '\0' ? cli_string (info, "ErrorName") : "done";
}

static void
add_job (GPtrArray *rows, GVariant *info)
{
  g_autofree char *done = done_so_far (info), *ago = NULL, *text = NULL;
  g_autofree const char **objects = NULL;
  guint64 id = 0;
  guint32 uid = 0;
  gint64 started = 0;

  g_variant_lookup (info, "Id", "t", &id);
  g_variant_lookup (info, "StartedByUID", "u", &uid);
  g_variant_lookup (info, "StartedAt", "x", &started);
  g_variant_lookup (info, "Objects", "^a&s", &objects);
  ago = cli_ago (started);
  text = objects != NULL && objects[0] != NULL ? g_strdup (objects[0]) : g_strdup ("-");
  cli_add_row (rows, "%" G_GUINT64_FORMAT "\t%s\t%s\t%s\t%s\t%s\t%u\t%s", id, cli_string (info, "Operation"),
               cli_string (info, "Namespace"), text, state_of (info), done, uid, ago);
}

/* A job that is forgotten between the list and the question for it is left out. Returns: (transfer full):
 * aa{sv}, or NULL after a message. */
static GVariant *
job_infos (GPtrArray *jobs)
{
  g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));

  for (guint i = 0; i < jobs->len; i++)
    {
      GError *error = NULL;
      g_autoptr (GVariant) info = gantry_job_get_info (g_ptr_array_index (jobs, i), NULL, &error);

      if (info != NULL)
        g_variant_builder_add_value (&builder, info);
      else if (g_error_matches (error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD)
               || g_error_matches (error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT)
               || g_error_matches (error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_INTERFACE)
               || g_error_matches (error, GANTRY_ERROR, GANTRY_ERROR_NOT_FOUND))
        g_clear_error (&error);
      else
        {
          cli_fail_error (error);
          return NULL;
        }
    }
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static int
job_ls (int argc, char **argv)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GPtrArray) jobs = NULL;
  g_autoptr (GVariant) infos = NULL;
  GError *error = NULL;

  if (!cli_parse (
          &argc, &argv, "job ls", "",
          "Lists the jobs that run or have just ended: pulls, imports, unpacks and the like, whichever "
          "program began them.",
          NULL, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  jobs = gantry_client_list_jobs (cli_client (), NULL, &error);
  if (jobs == NULL)
    return cli_fail_error (error);
  infos = job_infos (jobs);
  if (infos == NULL)
    return 1;
  if (cli.json)
    {
      cli_print_json (infos);
      return 0;
    }
  cli_add_row (rows, "JOB\tOPERATION\tNAMESPACE\tOBJECT\tSTATE\tDONE\tUID\tSTARTED");
  for (gsize i = 0; i < g_variant_n_children (infos); i++)
    {
      g_autoptr (GVariant) info = g_variant_get_child_value (infos, i);

      add_job (rows, info);
    }
  cli_print_table (rows);
  return 0;
}

/* By its id or the token that its caller gave it. Returns: (transfer full), or NULL after a message. */
static GantryJob *
find_job (const char *name)
{
  g_autoptr (GPtrArray) jobs = NULL;
  GError *error = NULL;

  jobs = gantry_client_list_jobs (cli_client (), NULL, &error);
  if (jobs == NULL)
    {
      cli_fail_error (error);
      return NULL;
    }
  for (guint i = 0; i < jobs->len; i++)
    {
      g_autoptr (GVariant) info = gantry_job_get_info (g_ptr_array_index (jobs, i), NULL, NULL);
      g_autofree char *id = NULL;
      guint64 number = 0;

      /* One that cannot be asked has been forgotten since. */
      if (info == NULL)
        continue;
      g_variant_lookup (info, "Id", "t", &number);
      id = g_strdup_printf ("%" G_GUINT64_FORMAT, number);
      if (strcmp (id, name) == 0 || strcmp (cli_string (info, "Token"), name) == 0)
        return g_object_ref (g_ptr_array_index (jobs, i));
    }
  cli_fail ("job %s: not found; gantry job ls lists those that run or have just ended", name);
  return NULL;
}

/* The one job that a verb is about. @ret_status: the exit status if there is none. */
static GantryJob *
job_argument (int argc, char **argv, const char *verb, int *ret_status)
{
  GantryJob *job = NULL;

  if (argc != 2)
    {
      *ret_status = cli_usage (verb, "%s needs the id of a job", strrchr (verb, ' ') + 1);
      return NULL;
    }
  *ret_status = 1;
  if (cli_client () != NULL)
    job = find_job (argv[1]);
  return job;
}

static int
job_inspect (int argc, char **argv)
{
  g_autoptr (GantryJob) job = NULL;
  GVariant *info;
  GError *error = NULL;
  int status;

  if (!cli_parse (&argc, &argv, "job inspect", "JOB", "Shows all that is known of a job.", NULL, FALSE))
    return CLI_USAGE;
  job = job_argument (argc, argv, "job inspect", &status);
  if (job == NULL)
    return status;
  info = gantry_job_get_info (job, NULL, &error);
  if (info == NULL)
    return cli_fail_error (error);
  cli_print_json (info);
  g_variant_unref (info);
  return 0;
}

static int
job_wait (int argc, char **argv)
{
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GVariant) result = NULL;
  GError *error = NULL;
  int status;

  if (!cli_parse (&argc, &argv, "job wait", "JOB",
                  "Waits until a job has ended. It fails as the job does; an interrupt ends the wait alone.",
                  NULL, FALSE))
    return CLI_USAGE;
  job = job_argument (argc, argv, "job wait", &status);
  if (job == NULL)
    return status;
  result = gantry_job_wait (job, NULL, &error);
  if (result == NULL)
    return cli_fail_error (error);
  if (cli.json)
    cli_print_json (result);
  return 0;
}

static int
job_cancel (int argc, char **argv)
{
  g_autoptr (GantryJob) job = NULL;
  GError *error = NULL;
  int status;

  if (!cli_parse (
          &argc, &argv, "job cancel", "JOB",
          "Asks a job to end. What a pull has fetched is kept for a while, so that the next one goes on "
          "from there.",
          NULL, FALSE))
    return CLI_USAGE;
  job = job_argument (argc, argv, "job cancel", &status);
  if (job == NULL)
    return status;
  return cli_done (gantry_job_cancel (job, NULL, &error), &error);
}

int
cli_job (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "ls", job_ls, "List jobs" },
    { "inspect", job_inspect, "Show all of one" },
    { "wait", job_wait, "Wait until it has ended" },
    { "cancel", job_cancel, "Ask it to end" },
  };

  return cli_dispatch ("job", "Tells what the daemon is at.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
