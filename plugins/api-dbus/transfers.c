/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Work that becomes a job: the call is answered with the job's path at once, and the work goes on on a thread
 * of its own pool. */
#include "api-dbus.h"

#include <unistd.h>

#include <reference.h>

typedef struct _Work Work;
typedef gboolean (*WorkFunc) (Work *work, GVariantDict *result, GError **error);

struct _Work
{
  ApiDbus *self;
  WorkFunc func;
  GantryJob *job;
  char *ns;
  char **names;
  int fd;
  GVariant *options;
  GantryRegistryAccess *access; /* (nullable) */
};

static void
work_free (gpointer data)
{
  Work *work = data;

  gantry_job_unref (work->job);
  g_free (work->ns);
  g_strfreev (work->names);
  if (work->fd >= 0)
    close (work->fd);
  g_variant_unref (work->options);
  gantry_registry_access_unref (work->access);
  g_free (work);
}

static void
run_work (gpointer data, gpointer unused)
{
  Work *work = data;
  g_autoptr (GError) error = NULL;
  GVariantDict result;

  g_variant_dict_init (&result, NULL);
  if (work->func (work, &result, &error))
    gantry_job_finish (work->job, g_variant_dict_end (&result), NULL);
  else
    {
      g_variant_dict_clear (&result);
      gantry_error_normalize (&error);
      gantry_job_finish (work->job, NULL, error);
    }
}

/* Begins the job and gives it to the pool. @names (nullable), @fd and @access (nullable) are taken, also
 * after a failure. */
static gboolean
begin_with (Call *call, const char *operation, WorkFunc func, char **names, int fd,
            GantryRegistryAccess *access, GVariant *options, GVariant **ret_reply, GError **error)
{
  Work *work = g_new0 (Work, 1);
  g_autofree char *path = NULL;
  g_autoptr (GError) local = NULL;
  GVariantDict rest;
  gboolean ok;

  g_variant_dict_init (&rest, options);
  ok = job_begin (call, operation, &rest, &work->job, &path, error);
  *work = (Work){ call->self,
                  func,
                  work->job,
                  g_strdup (call->ns),
                  names,
                  fd,
                  g_variant_ref_sink (g_variant_dict_end (&rest)),
                  access };
  if (ok && gantry_host_submit (call->self->host, GANTRY_POOL_IO, run_work, work, work_free, &local))
    {
      *ret_reply = g_variant_new ("(o)", path);
      return TRUE;
    }
  if (local != NULL)
    {
      gantry_job_finish (work->job, NULL, local);
      g_propagate_error (error, g_steal_pointer (&local));
    }
  work_free (work);
  return FALSE;
}

static gboolean
begin (Call *call, const char *operation, WorkFunc func, char **names, int fd, GVariant *options,
       GVariant **ret_reply, GError **error)
{
  return begin_with (call, operation, func, names, fd, NULL, options, ret_reply, error);
}

static gboolean
do_import (Work *work, GVariantDict *result, GError **error)
{
  g_auto (GStrv) names = NULL;

  if (!gantry_transfer_import (work->self->transfer, work->job, work->ns, work->fd, work->options, &names,
                               gantry_job_get_cancellable (work->job), error))
    return FALSE;
  g_variant_dict_insert (result, "names", "^as", names);
  return TRUE;
}

gboolean
import_images (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  gint32 handle;
  int fd;

  g_variant_get (call->parameters, "(h@a{sv})", &handle, &options);
  fd = call_fd (call, handle, error);
  return fd >= 0 && begin (call, "import", do_import, NULL, fd, options, ret_reply, error);
}

static gboolean
do_export (Work *work, GVariantDict *result, GError **error)
{
  return gantry_transfer_export (work->self->transfer, work->job, work->ns, (const char *const *)work->names,
                                 work->fd, work->options, gantry_job_get_cancellable (work->job), error);
}

gboolean
export_images (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  g_autoptr (GPtrArray) whole = g_ptr_array_new_with_free_func (g_free);
  g_auto (GStrv) names = NULL;
  gint32 handle;
  int fd;

  g_variant_get (call->parameters, "(^ash@a{sv})", &names, &handle, &options);
  for (gsize i = 0; names[i] != NULL; i++)
    {
      char *name = find_image_name (call, names[i], error);

      if (name == NULL)
        return FALSE;
      g_ptr_array_add (whole, name);
    }
  g_ptr_array_add (whole, NULL);
  fd = call_fd (call, handle, error);
  return fd >= 0
         && begin (call, "export", do_export, (char **)g_ptr_array_free (g_steal_pointer (&whole), FALSE), fd,
                   options, ret_reply, error);
}

static gboolean
do_unpack (Work *work, GVariantDict *result, GError **error)
{
  g_autofree char *chain = NULL;

  if (!gantry_transfer_unpack (work->self->transfer, work->job, work->ns, work->names[0], work->options,
                               &chain, gantry_job_get_cancellable (work->job), error))
    return FALSE;
  g_variant_dict_insert (result, "chain-id", "s", chain);
  return TRUE;
}

gboolean
unpack_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  const char *const names[] = { call->id, NULL };

  g_variant_get (call->parameters, "(@a{sv})", &options);
  return begin (call, "unpack", do_unpack, g_strdupv ((char **)names), -1, options, ret_reply, error);
}

static gboolean
do_pull (Work *work, GVariantDict *result, GError **error)
{
  g_autoptr (GantryDescriptor) target = NULL;
  g_autofree char *name = NULL;

  if (!gantry_transfer_pull (work->self->transfer, work->job, work->ns, work->names[0], work->access,
                             work->options, &name, &target, gantry_job_get_cancellable (work->job), error))
    return FALSE;
  g_variant_dict_insert (result, "name", "s", name);
  g_variant_dict_insert_value (result, "target", gantry_descriptor_to_variant (target));
  return TRUE;
}

gboolean
pull_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  g_auto (GStrv) names = g_new0 (char *, 2);

  g_variant_get (call->parameters, "(s@a{sv})", &names[0], &options);
  if (!registry_access_take (options, &access, &rest, error))
    return FALSE;
  return begin_with (call, "pull", do_pull, g_steal_pointer (&names), -1, g_steal_pointer (&access), rest,
                     ret_reply, error);
}

static gboolean
do_push (Work *work, GVariantDict *result, GError **error)
{
  g_autoptr (GantryDescriptor) target = NULL;

  if (!gantry_transfer_push (work->self->transfer, work->job, work->ns, work->names[0], work->names[1],
                             work->access, work->options, &target, gantry_job_get_cancellable (work->job),
                             error))
    return FALSE;
  g_variant_dict_insert_value (result, "target", gantry_descriptor_to_variant (target));
  return TRUE;
}

gboolean
push_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  g_auto (GStrv) names = g_new0 (char *, 3);
  const char *name, *reference;

  g_variant_get (call->parameters, "(&s&s@a{sv})", &name, &reference, &options);
  names[0] = find_image_name (call, name, error);
  if (names[0] == NULL)
    return FALSE;
  names[1] = reference[0] != '\0' ? gantry_reference_normalize (reference, error) : g_strdup (names[0]);
  if (names[1] == NULL || !registry_access_take (options, &access, &rest, error))
    return FALSE;
  return begin_with (call, "push", do_push, g_steal_pointer (&names), -1, g_steal_pointer (&access), rest,
                     ret_reply, error);
}

static gboolean
do_convert (Work *work, GVariantDict *result, GError **error)
{
  g_autoptr (GantryDescriptor) target = NULL;

  if (!gantry_transfer_convert (work->self->transfer, work->job, work->ns, work->names[0], work->names[1],
                                work->options, &target, gantry_job_get_cancellable (work->job), error))
    return FALSE;
  g_variant_dict_insert (result, "name", "s", work->names[1]);
  g_variant_dict_insert_value (result, "target", gantry_descriptor_to_variant (target));
  return TRUE;
}

gboolean
convert_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  g_auto (GStrv) names = g_new0 (char *, 3);
  const char *new_name;

  g_variant_get (call->parameters, "(&s@a{sv})", &new_name, &options);
  names[0] = g_strdup (call->id);
  names[1] = gantry_reference_normalize (new_name, error);
  return names[1] != NULL
         && begin (call, "convert", do_convert, g_steal_pointer (&names), -1, options, ret_reply, error);
}

static gboolean
do_install (Work *work, GVariantDict *result, GError **error)
{
  g_autoptr (GVariant) installed = NULL;
  GVariantIter iter;
  const char *key;
  GVariant *value;

  if (!gantry_transfer_install (work->self->transfer, work->job, work->ns, work->names[0], work->options,
                                &installed, gantry_job_get_cancellable (work->job), error))
    return FALSE;
  g_variant_iter_init (&iter, installed);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    g_variant_dict_insert_value (result, key, value);
  return TRUE;
}

gboolean
install_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL;
  const char *const names[] = { call->id, NULL };

  g_variant_get (call->parameters, "(@a{sv})", &options);
  return begin (call, "install", do_install, g_strdupv ((char **)names), -1, options, ret_reply, error);
}
