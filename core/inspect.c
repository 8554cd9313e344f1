/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inspect.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct
{
  Options *options;
  const char *what;
} Question;

static void
print_json (GVariant *value)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (value);
  g_autofree char *text = json_gvariant_serialize_data (held, NULL);

  printf ("%s\n", text);
}

static int
print_in_child (gpointer data)
{
  const Question *question = data;
  g_autoptr (Core) core = core_new (question->options);
  g_autoptr (GError) error = NULL;

  core->stopping = TRUE; /* nothing is started */
  if (!core_load (core, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  core_resolve (core);
  if (strcmp (question->what, "trace") == 0)
    {
      g_auto (GStrv) lines = gantry_introspection_get_trace (&core->introspection);

      print_json (g_variant_new_strv ((const char *const *)lines, -1));
    }
  else if (strcmp (question->what, "config") == 0)
    print_json (gantry_introspection_get_config (&core->introspection));
  else
    print_json (gantry_introspection_list_plugins (&core->introspection));
  return fflush (stdout) == 0 ? 0 : 1;
}

int
inspect_in_child (int (*func) (gpointer data), gpointer data)
{
  int status;
  pid_t pid;

  fflush (NULL);
  pid = fork ();
  if (pid == 0)
    {
      status = func (data);
      fflush (NULL);
      _exit (status);
    }
  if (pid < 0)
    return 1;
  while (waitpid (pid, &status, 0) < 0)
    if (errno != EINTR)
      return 1;
  return WIFSIGNALED (status) ? 128 + WTERMSIG (status) : WEXITSTATUS (status);
}

gboolean
inspect_same_file (const char *a, const char *b)
{
  struct stat x, y;

  return stat (a, &x) == 0 && stat (b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int
inspect_print (Options *options, const char *what)
{
  Question question = { options, what };
  int status;

  if (strcmp (what, "plugins") != 0 && strcmp (what, "trace") != 0 && strcmp (what, "config") != 0)
    {
      g_printerr ("gantryd: --inspect takes plugins, trace or config\n");
      return 2;
    }
  status = inspect_in_child (print_in_child, &question);
  if (status > 128)
    g_printerr ("gantryd: a module crashed while it was opened (signal %d); find it with gantryd --check\n",
                status - 128);
  return status;
}
