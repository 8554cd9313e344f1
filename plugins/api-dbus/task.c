/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Task, and org.gantry1.Process: a process of a task as an object of its own. */
#include "api-dbus.h"

/* Takes the stdio keys out of @options. */
GantryStdio *
take_stdio (Call *call, GVariantDict *options, GVariant *handles, GError **error)
{
  static const char *const keys[] = { "stdin", "stdout", "stderr" };
  g_autoptr (GUnixFDList) fds = call_fds (call, handles, error);
  g_autofree char *uris[3] = { NULL, NULL, NULL };
  gboolean terminal = FALSE;

  if (fds == NULL)
    return NULL;
  for (gsize i = 0; i < G_N_ELEMENTS (keys); i++)
    {
      g_variant_dict_lookup (options, keys[i], "s", &uris[i]);
      g_variant_dict_remove (options, keys[i]);
    }
  g_variant_dict_lookup (options, "terminal", "b", &terminal);
  g_variant_dict_remove (options, "terminal");
  {
    GantryStdio *stdio = gantry_stdio_new (uris[0], uris[1], uris[2], terminal, fds);

    for (gsize i = 0; i < G_N_ELEMENTS (uris); i++)
      g_clear_pointer (&uris[i], g_free);
    return stdio;
  }
}

static gboolean
start (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryProcess) process = NULL;
  const char *exec;

  g_variant_get (call->parameters, "(&s)", &exec);
  if (!gantry_tasks_start (call->self->tasks, call->ns, call->id, exec, &process, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(u)", process->pid);
  return TRUE;
}

static gboolean
exec_process (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, handles = NULL, rest = NULL;
  g_autoptr (GantryStdio) stdio = NULL;
  g_autofree char *path = NULL;
  const char *exec;
  GVariantDict dict;

  g_variant_get (call->parameters, "(&s@a{sv}@ah)", &exec, &options, &handles);
  g_variant_dict_init (&dict, options);
  stdio = take_stdio (call, &dict, handles, error);
  rest = g_variant_ref_sink (g_variant_dict_end (&dict));
  if (stdio == NULL
      || !gantry_tasks_exec (call->self->tasks, call->ns, call->id, exec, NULL, rest, stdio, NULL, error))
    return FALSE;
  path = path_process (call->ns, call->id, exec);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static void
on_exit_known (GantryProcess *process, const GError *error, gpointer user_data)
{
  g_autoptr (GDBusMethodInvocation) invocation = user_data;

  if (error != NULL)
    g_dbus_method_invocation_return_gerror (g_steal_pointer (&invocation), error);
  else
    g_dbus_method_invocation_return_value (g_steal_pointer (&invocation),
                                           g_variant_new ("(ux)", process->exit_status, process->exited_ns));
}

gboolean
answer_at_exit (Call *call, const char *exec, GError **error)
{
  guint64 id;

  g_object_ref (call->invocation);
  call->deferred = gantry_tasks_wait (call->self->tasks, call->ns, call->id, exec, on_exit_known,
                                      call->invocation, &id, NULL, error);
  if (!call->deferred)
    g_object_unref (call->invocation);
  return call->deferred;
}

static gboolean
wait_for_exit (Call *call, GVariant **ret_reply, GError **error)
{
  const char *exec;

  g_variant_get (call->parameters, "(&s)", &exec);
  return answer_at_exit (call, exec, error);
}

static gboolean
delete_task (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryProcess) process = NULL;
  const char *exec;

  g_variant_get (call->parameters, "(&s)", &exec);
  if (!gantry_tasks_delete_task (call->self->tasks, call->ns, call->id, exec, &process, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(ux)", process->exit_status, process->exited_ns);
  return TRUE;
}

static gboolean
kill_process (Call *call, GVariant **ret_reply, GError **error)
{
  const char *exec;
  guint32 signal;
  gboolean all;

  g_variant_get (call->parameters, "(&sub)", &exec, &signal, &all);
  return gantry_tasks_kill (call->self->tasks, call->ns, call->id, exec, signal, all, NULL, error);
}

static gboolean
pause_task (Call *call, GVariant **ret_reply, GError **error)
{
  return gantry_tasks_pause (call->self->tasks, call->ns, call->id, NULL, error);
}

static gboolean
resume_task (Call *call, GVariant **ret_reply, GError **error)
{
  return gantry_tasks_resume (call->self->tasks, call->ns, call->id, NULL, error);
}

static gboolean
resize (Call *call, GVariant **ret_reply, GError **error)
{
  const char *exec;
  guint32 width, height;

  g_variant_get (call->parameters, "(&suu)", &exec, &width, &height);
  return gantry_tasks_resize (call->self->tasks, call->ns, call->id, exec, width, height, NULL, error);
}

static gboolean
close_stdin (Call *call, GVariant **ret_reply, GError **error)
{
  const char *exec;

  g_variant_get (call->parameters, "(&s)", &exec);
  return gantry_tasks_close_stdin (call->self->tasks, call->ns, call->id, exec, NULL, error);
}

static gboolean
attach (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) handles = NULL;
  g_autoptr (GUnixFDList) fds = NULL;
  const char *exec;

  g_variant_get (call->parameters, "(&s@ah)", &exec, &handles);
  fds = call_fds (call, handles, error);
  return fds != NULL && gantry_tasks_attach (call->self->tasks, call->ns, call->id, exec, fds, NULL, error);
}

static gboolean
list_pids (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) pids = NULL;

  if (!gantry_tasks_pids (call->self->tasks, call->ns, call->id, &pids, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a(us))", pids);
  return TRUE;
}

static gboolean
get_stats (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) stats = NULL;

  if (!gantry_tasks_stats (call->self->tasks, call->ns, call->id, &stats, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", stats);
  return TRUE;
}

CallFunc
task_find (const char *method)
{
  static const Method methods[] = {
    { "Start", start },        { "Exec", exec_process },  { "Wait", wait_for_exit },
    { "Delete", delete_task }, { "Kill", kill_process },  { "Pause", pause_task },
    { "Resume", resume_task }, { "Resize", resize },      { "CloseStdin", close_stdin },
    { "Attach", attach },      { "ListPids", list_pids }, { "GetStats", get_stats },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}

CallFunc
process_find (const char *method)
{
  static const Method methods[] = {
    { "Start", start },   { "Wait", wait_for_exit },     { "Delete", delete_task }, { "Kill", kill_process },
    { "Resize", resize }, { "CloseStdin", close_stdin }, { "Attach", attach },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
