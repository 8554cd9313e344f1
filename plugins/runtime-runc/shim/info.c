/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * "-info": what this shim is, and what its OCI runtime can do, as a containerd.types.RuntimeInfo on stdout.
 */
#include "shim.h"

#define FEATURES_TYPE "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

static void
put_any (PbBuffer *buffer, uint32_t field, const char *type_url, const PbBuffer *value)
{
  size_t any = pb_begin (buffer, field);

  pb_put_string (buffer, 1, type_url);
  pb_put_bytes (buffer, 2, value->data, value->length);
  pb_end (buffer, any);
}

static bool
put_info (Options *options, const PbBuffer *given, PbBuffer *info, Error *error)
{
  PbBuffer features = { 0 };
  size_t version;
  bool ok;

  if (!options_complete (options))
    return fail (error, CODE_INTERNAL, "no memory");
  if (!options_check (options, error))
    return false;
  pb_put_string (info, 1, "io.containerd.gantry.v1");
  version = pb_begin (info, 2);
  pb_put_string (info, 1, GANTRY_VERSION);
  pb_end (info, version);
  if (given->length > 0)
    pb_put_bytes (info, 3, given->data, given->length);
  ok = runc_features (options, &features, error);
  if (features.length > 0)
    put_any (info, 4, FEATURES_TYPE, &features);
  pb_clear (&features);
  return ok;
}

int
shim_tell_info (void)
{
  PbBuffer info = { 0 }, given = { 0 };
  Options options = { 0 };
  Error error = { 0 };
  bool ok;

  read_stdin (&given);
  options_read (&options, given.data, given.length);
  ok = put_info (&options, &given, &info, &error);
  if (ok)
    fwrite (info.data, 1, info.length, stdout);
  else
    fprintf (stderr, "gantry-shim-runc: %s\n", error.message);
  pb_clear (&info);
  pb_clear (&given);
  options_clear (&options);
  return ok && fflush (stdout) == 0 ? 0 : 1;
}
