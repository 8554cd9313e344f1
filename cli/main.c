/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry: the command line. */
#include "cli.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

static const CliVerb verbs[] = {
  { "run", cli_run, "Make a container of an image and run it" },
  { "create", cli_create, "Make a container without starting it" },
  { "start", cli_start, "Start a container" },
  { "exec", cli_exec, "Run one more process in a running container" },
  { "attach", cli_attach, "Connect to the streams of a detached container" },
  { "logs", cli_logs, "Print what a detached container has written" },
  { "kill", cli_kill, "Send a signal to a container" },
  { "stop", cli_stop, "End a container: its stop signal, then SIGKILL" },
  { "pause", cli_pause, "Freeze a container" },
  { "resume", cli_resume, "Thaw it" },
  { "rm", cli_rm, "Remove containers" },
  { "ps", cli_ps, "List containers" },
  { "top", cli_top, "List the processes of a container" },
  { "stats", cli_stats, "Show what containers use" },
  { "wait", cli_wait, "Wait until a container has ended and print its status" },
  { "inspect", cli_inspect, "Show all that is known of a container" },
  { "pull", cli_pull, "Fetch an image from a registry (image pull)" },
  { "push", cli_push, "Send an image to a registry (image push)" },
  { "login", cli_login, "Keep credentials for a registry" },
  { "logout", cli_logout, "Forget them" },
  { "search-tags", cli_search_tags, "List the tags of a repository" },
  { "registry", cli_registry, "Registries: explain, login, logout, search-tags" },
  { "image", cli_image,
    "Images: pull, push, usage, prune, import, export, ls, inspect, unpack, convert, install, tag, label, "
    "verify, sign, rm" },
  { "content", cli_content, "Blobs: ls, get, inspect, rm, prune" },
  { "mount", cli_mount, "Mounts that the daemon keeps: ls, activate, inspect, label, deactivate" },
  { "sandbox", cli_sandbox, "Sandboxes: ls, create, start, stop, wait, inspect, stats, label, rm" },
  { "ns", cli_ns, "Namespaces: ls, create, label, rm" },
  { "events", cli_events, "Print what changes, as it does" },
  { "gc", cli_gc, "Garbage collection: run, why" },
  { "check", cli_check, "Compare the database with disk, mounts and shims" },
  { "plugin", cli_plugin, "The daemon's parts: list, inspect, graph, check, trace" },
  { "config", cli_config, "Configuration: show" },
  { "job", cli_job, "What the daemon is at: ls, inspect, wait, cancel" },
  { "system", cli_system, "The daemon: info" },
};

static int
print_help (void)
{
  g_print ("Usage: gantry [OPTION …] VERB …\n\nRuns containers by the Gantry daemon, which is started on "
           "demand.\n\n");
  for (gsize i = 0; i < G_N_ELEMENTS (verbs); i++)
    g_print ("  %-11s %s\n", verbs[i].name, verbs[i].summary);
  g_print ("  %-11s %s\n", "version", "Print the version");
  g_print ("\nOptions:\n"
           "  --address ADDRESS        The daemon's D-Bus address [unix:path=/run/gantry/gantry.sock; "
           "GANTRY_ADDRESS]\n"
           "  -n, --namespace NAME     Work in this namespace [default; GANTRY_NAMESPACE]\n"
           "  --format json            Print JSON instead of tables\n"
           "\nA first container:\n"
           "  gantry image import busybox.tar && gantry run --rm busybox echo hello\n"
           "\nEach verb has its own --help. Exit status: that of the container, 127 if its program was not "
           "found, 125 if it could not\n"
           "be run, 2 for a wrong command line, 1 for other failures.\n");
  return 0;
}

/* Takes the global options. Returns: the index of the verb, or -1 after a message. */
static int
parse_globals (int argc, char **argv)
{
  int at = 1;

  while (at < argc && argv[at][0] == '-' && strcmp (argv[at], "--help") != 0 && strcmp (argv[at], "-h") != 0)
    {
      const char *value = at + 1 < argc ? argv[at + 1] : NULL;

      if (strcmp (argv[at], "--version") == 0)
        return at;
      if (strcmp (argv[at], "--address") == 0 && value != NULL)
        cli.address = value;
      else if ((strcmp (argv[at], "--namespace") == 0 || strcmp (argv[at], "-n") == 0) && value != NULL)
        cli.ns = value;
      else if (strcmp (argv[at], "--format") == 0 && value != NULL
               && (strcmp (value, "json") == 0 || strcmp (value, "table") == 0))
        cli.json = value[0] == 'j';
      else
        {
          cli_fail ("unknown option %s, or its value is missing or wrong; see gantry --help", argv[at]);
          return -1;
        }
      at += 2;
    }
  return at;
}

int
main (int argc, char **argv)
{
  int at;

  setlocale (LC_ALL, "");
  signal (SIGPIPE, SIG_IGN);
  cli.address = g_getenv ("GANTRY_ADDRESS");
  if (g_getenv ("GANTRY_NAMESPACE") != NULL)
    cli.ns = g_getenv ("GANTRY_NAMESPACE");
  at = parse_globals (argc, argv);
  if (at < 0)
    return CLI_USAGE;
  if (at == argc || strcmp (argv[at], "--help") == 0 || strcmp (argv[at], "-h") == 0
      || strcmp (argv[at], "help") == 0)
    return print_help ();
  if (strcmp (argv[at], "version") == 0 || strcmp (argv[at], "--version") == 0)
    {
      g_print ("gantry %s\n", GANTRY_VERSION);
      return 0;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (verbs); i++)
    if (strcmp (verbs[i].name, argv[at]) == 0)
      return verbs[i].func (argc - at, argv + at);
  cli_fail ("there is no verb \"%s\"; see gantry --help", argv[at]);
  return CLI_USAGE;
}
