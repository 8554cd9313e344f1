/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Containers, their processes and how these end. */
#include "shim.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Who does not read does not hold up for longer that others learn of an end. */
#define SETTLE_SECONDS 5
#define SETTLE_TICK_MS 100

Container *containers;
/* Processes that have ended, which has not been announced. */
static unsigned n_settling;

Container *
container_find (const char *id)
{
  for (Container *at = containers; at != NULL; at = at->next)
    if (id != NULL && strcmp (at->id, id) == 0)
      return at;
  return NULL;
}

Process *
process_find (Container *container, const char *exec_id)
{
  if (exec_id == NULL || exec_id[0] == '\0')
    return &container->init;
  for (Process *at = container->execs; at != NULL; at = at->next)
    if (strcmp (at->exec_id, exec_id) == 0)
      return at;
  return NULL;
}

void
process_init (Process *process, Container *container, const char *exec_id)
{
  *process = (Process){ .container = container, .console = -1 };
  process->exec_id = strdup (exec_id);
}

void
process_clear (Process *process)
{
  if (process->ended && !process->exited)
    n_settling--;
  stdio_finish (process);
  for (int i = 0; i < process->stdio.n_fds; i++)
    close (process->stdio.fds[i]);
  for (int i = 0; i < 3; i++)
    free (process->stdio.uri[i]);
  free (process->exec_id);
  free (process->spec);
}

void
container_free (Container *container)
{
  for (Container **at = &containers; *at != NULL; at = &(*at)->next)
    if (*at == container)
      {
        *at = container->next;
        break;
      }
  while (container->execs != NULL)
    {
      Process *exec = container->execs;

      container->execs = exec->next;
      process_clear (exec);
      free (exec);
    }
  process_clear (&container->init);
  oom_unwatch (container);
  free (container->id);
  free (container->bundle);
  options_clear (&container->options);
  free (container->checkpoint);
  free (container->cgroups);
  free (container);
}

/* Writes "<status> <time>" so that a daemon that was away, or a shim that dies now, loses nothing. The bundle
 * is on a tmpfs or as transient as one: a rename is enough. */
static void
write_record (const Process *process)
{
  char path[4096], temporary[4096 + 8], text[64];
  int fd, n;

  snprintf (path, sizeof path, "%s/exit.%s", process->container->bundle, process->exec_id);
  snprintf (temporary, sizeof temporary, "%s.new", path);
  n = snprintf (text, sizeof text, "%u %lld\n", process->status, (long long)process->exited_ns);
  fd = open (temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return;
  if (write (fd, text, (size_t)n) == n)
    rename (temporary, path);
  close (fd);
}

/* What shares its pid namespace with others does not end with its init by itself. */
static void
kill_rest (Container *container)
{
  Error ignored;

  if (container->shares_pids)
    runc_kill (container, SIGKILL, true, &ignored);
}

void
process_settle (Process *process)
{
  if (!process->ended || process->exited)
    return;
  n_settling--;
  process->exited = true;
  stdio_finish (process);
  announce_exit (process);
  waiters_complete (process);
  if (process->exec_id[0] == '\0')
    runc_delete_early (process->container);
}

static void
settle_if_drained (Process *process)
{
  if (process->ended && !process->exited
      && (stdio_is_drained (process) || uptime_ns () >= process->settle_by))
    process_settle (process);
}

void
processes_settle (void)
{
  for (Container *container = containers; container != NULL && n_settling > 0; container = container->next)
    {
      settle_if_drained (&container->init);
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        settle_if_drained (exec);
    }
}

int
processes_timeout (void)
{
  return n_settling > 0 ? SETTLE_TICK_MS : -1;
}

static void
process_ended (Process *process, int wait_status)
{
  process->ended = true;
  process->exited_ns = now_ns ();
  process->settle_by = uptime_ns () + (int64_t)SETTLE_SECONDS * 1000000000;
  process->status = WIFSIGNALED (wait_status) ? 128u + (unsigned)WTERMSIG (wait_status)
                                              : (unsigned)WEXITSTATUS (wait_status);
  write_record (process);
  if (process->exec_id[0] == '\0')
    {
      oom_check (process->container);
      kill_rest (process->container);
    }
  n_settling++;
  stdio_drain (process);
  settle_if_drained (process);
}

void
process_reap (pid_t pid, int wait_status)
{
  for (Container *container = containers; container != NULL; container = container->next)
    {
      if (container->deleter == pid)
        {
          runc_deleted (container, wait_status);
          return;
        }
      if (container->init.pid == pid && !container->init.ended)
        {
          process_ended (&container->init, wait_status);
          return;
        }
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        if (exec->pid == pid && !exec->ended)
          {
            process_ended (exec, wait_status);
            return;
          }
    }
}
