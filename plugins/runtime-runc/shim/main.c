/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The shim's command line, as containerd calls it:
 *     gantry-shim-runc -namespace NS -id ID -address GRPC [-publish-binary P] [-bundle DIR] [-sockets DIR]
 * start | delete in the bundle; or with -v or -info alone. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

static bool
parse (int argc, char **argv, const char **command)
{
  static const struct
  {
    const char *name;
    const char **value;
  } valued[] = {
    { "namespace", &shim_namespace }, { "id", &shim_id },         { "address", &shim_daemon_address },
    { "publish-binary", NULL },       { "bundle", &shim_bundle }, { "sockets", &shim_sockets },
  };
  size_t n_valued = sizeof valued / sizeof valued[0];

  for (int i = 1; i < argc; i++)
    {
      const char *name = argv[i];
      size_t j;

      if (name[0] != '-')
        {
          *command = name;
          return true;
        }
      name += name[1] == '-' ? 2 : 1;
      if (strcmp (name, "debug") == 0)
        continue;
      if (strcmp (name, "v") == 0 || strcmp (name, "info") == 0)
        {
          *command = name;
          return true;
        }
      for (j = 0; j < n_valued && strcmp (name, valued[j].name) != 0; j++)
        ;
      if (j == n_valued || i + 1 == argc)
        {
          fprintf (stderr, "gantry-shim-runc: unknown option or missing value: %s\n", argv[i]);
          return false;
        }
      i++;
      if (valued[j].value != NULL)
        *valued[j].value = argv[i];
    }
  return true;
}

/* What the service manager said to the daemon is not for us: runc and crun would wait for a container to say
 * READY=1. */
static void
forget_service_manager (void)
{
  static const char *const names[]
      = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    unsetenv (names[i]);
}

int
main (int argc, char **argv)
{
  const char *command = NULL;

  forget_service_manager ();

  if (!parse (argc, argv, &command))
    return 2;
  if (command != NULL && strcmp (command, "v") == 0)
    {
      printf ("gantry-shim-runc %s\n", GANTRY_VERSION);
      return 0;
    }
  if (command != NULL && strcmp (command, "info") == 0)
    return shim_tell_info ();
  if (shim_id == NULL || command == NULL)
    {
      fprintf (
          stderr,
          "usage: gantry-shim-runc -namespace NS -id ID [-address ADDRESS] [-bundle DIR] start|delete\n");
      return 2;
    }
  if (strcmp (command, "start") == 0)
    return shim_start ();
  if (strcmp (command, "delete") == 0)
    return shim_cleanup ();
  fprintf (stderr, "gantry-shim-runc: unknown command %s\n", command);
  return 2;
}
