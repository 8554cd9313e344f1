/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry-pause: the process that holds a sandbox's namespaces. It is pid 1 of those that share its pid
 * namespace: it takes the exits of orphans, and ends when it is told to. */
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

int
main (void)
{
  sigset_t signals;
  int number;

  sigemptyset (&signals);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGCHLD);
  sigprocmask (SIG_BLOCK, &signals, NULL);
  while (true)
    {
      if (sigwait (&signals, &number) != 0)
        return 1;
      if (number != SIGCHLD)
        return 0;
      while (waitpid (-1, NULL, WNOHANG) > 0)
        ;
    }
}
