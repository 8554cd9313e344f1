/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The methods that make, start and remove processes. */
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_EXECS  1024
#define MAX_SPEC   (4 * 1024 * 1024)
#define MAX_CONFIG (16 * 1024 * 1024)

/* Moves the streams of a request into @stdio, with the passed fds if one of them names any. */
static void
take_stdio (Request *request, Arguments *arguments, int first, int terminal, Stdio *stdio)
{
  bool named = false;

  stdio->terminal = arguments->numbers[terminal] != 0;
  for (int i = 0; i < 3; i++)
    {
      stdio->uri[i] = arguments->strings[first + i];
      arguments->strings[first + i] = NULL;
      named |= stdio->uri[i] != NULL && strncmp (stdio->uri[i], "fd:", 3) == 0;
    }
  if (!named)
    return;
  memcpy (stdio->fds, request->fds, sizeof stdio->fds);
  stdio->n_fds = request->n_fds;
  request->n_fds = 0;
}

/* The process has its own copies now; ours would keep pipes open. */
static void
drop_passed (Stdio *stdio)
{
  for (int i = 0; i < stdio->n_fds; i++)
    close (stdio->fds[i]);
  stdio->n_fds = 0;
}

/* The bundle's config.json. Returns: (transfer full) its text; NULL if it can't be read, which the OCI
 * runtime will say. */
static char *
read_spec (const Container *container, Json *ret_spec)
{
  char path[4096], *text;
  size_t length;

  snprintf (path, sizeof path, "%s/config.json", container->bundle);
  text = read_file (path, MAX_CONFIG, &length);
  if (text != NULL && !json_parse (text, length, ret_spec))
    {
      free (text);
      return NULL;
    }
  return text;
}

/* Whether the container makes a pid namespace of its own: then nothing outlives its init. */
static bool
makes_pid_namespace (Json spec)
{
  Json linux_, namespaces, one;
  bool makes = false;

  if (!json_member (spec, "linux", &linux_) || !json_member (linux_, "namespaces", &namespaces))
    return false;
  while (json_next (&namespaces, &one))
    {
      char *type = json_member_string (one, "type"), *path = json_member_string (one, "path");

      makes |= type != NULL && strcmp (type, "pid") == 0 && (path == NULL || path[0] == '\0');
      free (type);
      free (path);
    }
  return makes;
}

static bool
has_hooks (Json spec, const char *kind)
{
  Json hooks, list, one;

  return json_member (spec, "hooks", &hooks) && json_member (hooks, kind, &list) && json_next (&list, &one);
}

static bool
check_spec (Container *container, Error *error)
{
  Json spec;
  char *text = read_spec (container, &spec);
  bool ok = true;

  /* Without a spec nothing is known: then nothing is done early. */
  container->start_hooks = text == NULL || has_hooks (spec, "poststart");
  container->stop_hooks = text == NULL || has_hooks (spec, "poststop");
  if (text == NULL)
    return true;
  container->shares_pids = !makes_pid_namespace (spec);
  if (container->checkpoint == NULL && !container->init.stdio.terminal)
    ok = program_check_init (container, spec, error);
  free (text);
  return ok;
}

/* What is known of a container as soon as its init process is there. */
static void
note_init (Container *container)
{
  char path[64];
  struct stat st;

  snprintf (path, sizeof path, "/proc/%d/root", (int)container->init.pid);
  if (stat (path, &st) == 0)
    {
      container->root_dev = st.st_dev;
      container->root_ino = st.st_ino;
    }
  cgroup_note (container);
  oom_watch (container);
}

static bool
make (Container *container, const PbField *mounts, size_t n_mounts, Error *error)
{
  if (!options_complete (&container->options))
    return fail (error, CODE_INTERNAL, "no memory");
  if (!options_check (&container->options, error))
    return false;
  if (!options_save (&container->options, container->bundle))
    return fail_errno (error, "writing to the bundle %s", container->bundle);
  if (!rootfs_mount (container, mounts, n_mounts, error) || !check_spec (container, error))
    return false;
  /* A restored task is made when it is started. */
  if (container->checkpoint != NULL)
    return true;
  if (!runc_create (container, error))
    {
      Error ignored;

      runc_delete (container, true, &ignored);
      return false;
    }
  note_init (container);
  return true;
}

static Container *
new_container (Request *request, Arguments *arguments)
{
  Container *container = calloc (1, sizeof *container);
  const char *checkpoint = arguments->strings[8];

  if (container == NULL)
    return NULL;
  process_init (&container->init, container, "");
  container->id = strdup (arguments->strings[1]);
  container->bundle = strdup (arguments->strings[2]);
  container->next = containers;
  containers = container;
  options_read (&container->options, arguments->bytes[10].data, arguments->bytes[10].length);
  if (checkpoint == NULL || checkpoint[0] == '\0')
    checkpoint = container->options.criu_image_path;
  container->checkpoint = checkpoint != NULL ? strdup (checkpoint) : NULL;
  take_stdio (request, arguments, 5, 4, &container->init.stdio);
  return container;
}

bool
do_create (Request *request, Arguments *arguments, Error *error)
{
  Container *container;

  if (!is_name (arguments->strings[1]) || arguments->strings[2] == NULL || arguments->strings[2][0] != '/')
    return fail (error, CODE_INVALID_ARGUMENT, "create needs an id and an absolute bundle");
  if (container_find (arguments->strings[1]) != NULL)
    return fail (error, CODE_ALREADY_EXISTS, "container %s exists already", arguments->strings[1]);
  container = new_container (request, arguments);
  if (container == NULL)
    return fail (error, CODE_INTERNAL, "no memory");
  if (!make (container, arguments->mounts, arguments->n_mounts, error))
    {
      /* Nothing of a task that failed is left. */
      if (container->mounted)
        rootfs_unmount (container->bundle);
      container_free (container);
      return false;
    }
  if (container->checkpoint == NULL)
    drop_passed (&container->init.stdio);
  pb_put_varint (&request->reply, 1, (uint64_t)container->init.pid);
  announce_create (container);
  return true;
}

static bool
run_process (Process *process, Error *error)
{
  Container *container = process->container;

  if (process->exec_id[0] != '\0')
    return program_check_exec (process, error) && runc_exec (process, error);
  if (container->checkpoint == NULL)
    return runc_start (container, error);
  if (!runc_restore (container, error))
    {
      runc_explain_criu (container, container->options.criu_work_path, error);
      return false;
    }
  note_init (container);
  return true;
}

bool
do_start (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  if (process == NULL)
    return false;
  if (process->started || process->ended)
    return fail (error, CODE_FAILED_PRECONDITION, "process was started already");
  if (!run_process (process, error))
    {
      /* A client may wait for the end of its streams before it deletes what could not be started. */
      if (process->exec_id[0] != '\0')
        stdio_finish (process);
      return false;
    }
  process->started = true;
  free (process->spec);
  process->spec = NULL;
  drop_passed (&process->stdio);
  pb_put_varint (&request->reply, 1, (uint64_t)process->pid);
  announce_start (process);
  return true;
}

bool
do_exec (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  PbReader spec;
  Process *exec;
  unsigned n = 0;

  if (container == NULL)
    return false;
  if (!is_name (arguments->strings[2]))
    return fail (error, CODE_INVALID_ARGUMENT,
                 "exec needs an id of letters, digits, dots, dashes and underscores");
  if (process_find (container, arguments->strings[2]) != NULL)
    return fail (error, CODE_ALREADY_EXISTS, "id %s: already exists", arguments->strings[2]);
  if (container->init.ended)
    return fail (error, CODE_FAILED_PRECONDITION, "cannot exec in a stopped container");
  if (container->paused)
    return fail (error, CODE_FAILED_PRECONDITION, "cannot exec in a paused container; resume it first");
  for (Process *at = container->execs; at != NULL; at = at->next)
    if (++n >= MAX_EXECS)
      return fail (error, CODE_FAILED_PRECONDITION, "the container has %d execs already", MAX_EXECS);
  exec = calloc (1, sizeof *exec);
  if (exec == NULL)
    return fail (error, CODE_INTERNAL, "no memory");
  process_init (exec, container, arguments->strings[2]);
  if (any_value (&arguments->bytes[7], &spec) && spec.end - spec.at <= MAX_SPEC)
    {
      exec->spec_length = (size_t)(spec.end - spec.at);
      exec->spec = malloc (exec->spec_length + 1);
      if (exec->spec != NULL)
        memcpy (exec->spec, spec.at, exec->spec_length);
    }
  take_stdio (request, arguments, 4, 3, &exec->stdio);
  if (exec->spec == NULL)
    {
      process_clear (exec);
      free (exec);
      return fail (error, CODE_INVALID_ARGUMENT, "exec needs a process spec");
    }
  exec->next = container->execs;
  container->execs = exec;
  announce_exec_added (exec);
  return true;
}

static void
put_exit (PbBuffer *reply, const Process *process)
{
  pb_put_varint (reply, 1, (uint64_t)process->pid);
  pb_put_varint (reply, 2, process->status);
  pb_put_timestamp (reply, 3, process->exited_ns);
}

static void
delete_exec (Process *process)
{
  Container *container = process->container;
  char path[4096];

  for (Process **at = &container->execs; *at != NULL; at = &(*at)->next)
    if (*at == process)
      {
        *at = process->next;
        break;
      }
  snprintf (path, sizeof path, "%s/exit.%s", container->bundle, process->exec_id);
  unlink (path);
  waiters_complete (process);
  process_clear (process);
  free (process);
}

bool
do_delete (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  Container *container;

  if (process == NULL)
    return false;
  container = process->container;
  if (process->started && !process->exited)
    return fail (error, CODE_FAILED_PRECONDITION, "cannot delete a running process");
  if (process->exec_id[0] != '\0')
    {
      put_exit (&request->reply, process);
      delete_exec (process);
      return true;
    }
  /* A task that was created and never started is killed by the forced delete. */
  if (!runc_delete (container, !process->started, error) && error->code != CODE_NOT_FOUND
      && !runc_delete (container, true, error))
    return false;
  if (!process->ended && process->pid > 0)
    {
      int status;

      if (waitpid (process->pid, &status, 0) == process->pid)
        process_reap (process->pid, status);
    }
  process_settle (process);
  if (container->mounted)
    rootfs_unmount (container->bundle);
  put_exit (&request->reply, process);
  announce_delete (process);
  waiters_complete (process);
  container_free (container);
  return true;
}
