/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Wait requests that are answered when their process ends. */
#include "shim.h"

#include <stdlib.h>

#define MAX_WAITERS 1024

static unsigned n_waiters;

bool
waiter_add (Process *process, Request *request, Error *error)
{
  struct Waiter *waiter = n_waiters < MAX_WAITERS ? malloc (sizeof *waiter) : NULL;

  if (waiter == NULL)
    return fail (error, CODE_FAILED_PRECONDITION, "there are %u waiters already", n_waiters);
  *waiter = (struct Waiter){ request->connection, request->stream, process->waiters };
  process->waiters = waiter;
  n_waiters++;
  request->deferred = true;
  return true;
}

void
waiters_complete (Process *process)
{
  while (process->waiters != NULL)
    {
      struct Waiter *waiter = process->waiters;

      process->waiters = waiter->next;
      server_complete_wait (waiter, process);
      free (waiter);
      n_waiters--;
    }
}

static void
drop_from (Process *process, const void *connection)
{
  for (struct Waiter **at = &process->waiters; *at != NULL;)
    {
      struct Waiter *waiter = *at;

      if (waiter->connection != connection)
        {
          at = &waiter->next;
          continue;
        }
      *at = waiter->next;
      free (waiter);
      n_waiters--;
    }
}

void
waiters_drop (void *connection)
{
  for (Container *container = containers; container != NULL; container = container->next)
    {
      drop_from (&container->init, connection);
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        drop_from (exec, connection);
    }
}
