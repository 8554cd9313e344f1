/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.runc.v1.Options: how one container's OCI runtime is called. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

/* In the bundle: the program, its --root and whether it uses systemd, a line each. */
#define SAVED_NAME   "runtime"
#define DEFAULT_ROOT "/run/containerd/runc"
#define MAX_SAVED    8192
/* Of our own daemon's: whether the container may be checkpointed whatever its streams are. */
#define CHECKPOINTABLE 100

static void
take_text (Options *options, const PbField *field)
{
  char **text;

  switch (field->number)
    {
    case 3:
      text = &options->shim_cgroup;
      break;
    case 6:
      text = &options->runtime;
      break;
    case 7:
      text = &options->root;
      break;
    case 8:
      text = &options->criu;
      break;
    case 10:
      text = &options->criu_image_path;
      break;
    case 11:
      text = &options->criu_work_path;
      break;
    default:
      return;
    }
  if (field->length == 0)
    return;
  free (*text);
  *text = pb_dup (field);
}

static void
take_number (Options *options, const PbField *field)
{
  if (field->number == 1)
    options->no_pivot = field->value != 0;
  else if (field->number == 2)
    options->no_new_keyring = field->value != 0;
  else if (field->number == 4)
    options->io_uid = (uint32_t)field->value;
  else if (field->number == 5)
    options->io_gid = (uint32_t)field->value;
  else if (field->number == 9)
    options->systemd_cgroup = field->value != 0;
  else if (field->number == CHECKPOINTABLE)
    options->checkpointable = field->value != 0;
}

void
options_read (Options *options, const uint8_t *any, size_t length)
{
  PbReader reader = pb_reader (any, length), message = pb_reader ("", 0);
  PbField field;

  while (any != NULL && pb_next (&reader, &field) > 0)
    if (field.number == 2 && field.wire == 2)
      message = pb_reader (field.data, field.length);
  while (pb_next (&message, &field) > 0)
    if (field.wire == 2)
      take_text (options, &field);
    else if (field.wire == 0)
      take_number (options, &field);
}

bool
options_complete (Options *options)
{
  char *root;

  if (asprintf (&root, "%s/%s", options->root != NULL ? options->root : DEFAULT_ROOT, shim_namespace) < 0)
    return false;
  free (options->root);
  options->root = root;
  if (options->runtime == NULL)
    options->runtime = strdup ("runc");
  return options->runtime != NULL;
}

bool
options_check (const Options *options, Error *error)
{
  const char *const paths[]
      = { options->root, options->criu, options->criu_image_path, options->criu_work_path };

  if (options->runtime[0] == '-' || strchr (options->runtime, '\n') != NULL)
    return fail (error, CODE_INVALID_ARGUMENT, "\"%.200s\" is not an OCI runtime", options->runtime);
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
    if (paths[i] != NULL && (paths[i][0] != '/' || strchr (paths[i], '\n') != NULL))
      return fail (error, CODE_INVALID_ARGUMENT, "the runtime option \"%.200s\" is not an absolute path",
                   paths[i]);
  return true;
}

void
options_clear (Options *options)
{
  free (options->runtime);
  free (options->root);
  free (options->criu);
  free (options->criu_image_path);
  free (options->criu_work_path);
  free (options->shim_cgroup);
  *options = (Options){ 0 };
}

bool
options_save (const Options *options, const char *bundle)
{
  char path[4096], text[MAX_SAVED];
  int n = snprintf (text, sizeof text, "%s\n%s\n%d\n", options->runtime, options->root,
                    options->systemd_cgroup);

  snprintf (path, sizeof path, "%s/%s", bundle, SAVED_NAME);
  return n < (int)sizeof text && write_file (path, text, (size_t)n);
}

void
options_load (Options *options, const char *bundle)
{
  char path[4096], *text, *rest, *runtime, *root, *systemd;

  snprintf (path, sizeof path, "%s/%s", bundle, SAVED_NAME);
  text = rest = read_file (path, MAX_SAVED, NULL);
  runtime = strsep (&rest, "\n");
  root = rest != NULL ? strsep (&rest, "\n") : NULL;
  systemd = rest != NULL ? strsep (&rest, "\n") : NULL;
  if (systemd != NULL)
    {
      options->runtime = strdup (runtime);
      options->root = strdup (root);
      options->systemd_cgroup = systemd[0] == '1';
    }
  free (text);
}
