/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-error.h"

static const GDBusErrorEntry entries[] = {
  { GANTRY_ERROR_UNKNOWN, "org.gantry1.Error.Unknown" },
  { GANTRY_ERROR_CANCELLED, "org.gantry1.Error.Cancelled" },
  { GANTRY_ERROR_INVALID_ARGUMENT, "org.gantry1.Error.InvalidArgument" },
  { GANTRY_ERROR_NOT_FOUND, "org.gantry1.Error.NotFound" },
  { GANTRY_ERROR_ALREADY_EXISTS, "org.gantry1.Error.AlreadyExists" },
  { GANTRY_ERROR_PERMISSION_DENIED, "org.gantry1.Error.PermissionDenied" },
  { GANTRY_ERROR_UNAUTHENTICATED, "org.gantry1.Error.Unauthenticated" },
  { GANTRY_ERROR_RESOURCE_EXHAUSTED, "org.gantry1.Error.ResourceExhausted" },
  { GANTRY_ERROR_FAILED_PRECONDITION, "org.gantry1.Error.FailedPrecondition" },
  { GANTRY_ERROR_CONFLICT, "org.gantry1.Error.Conflict" },
  { GANTRY_ERROR_NOT_MODIFIED, "org.gantry1.Error.NotModified" },
  { GANTRY_ERROR_ABORTED, "org.gantry1.Error.Aborted" },
  { GANTRY_ERROR_OUT_OF_RANGE, "org.gantry1.Error.OutOfRange" },
  { GANTRY_ERROR_NOT_IMPLEMENTED, "org.gantry1.Error.NotImplemented" },
  { GANTRY_ERROR_INTERNAL, "org.gantry1.Error.Internal" },
  { GANTRY_ERROR_UNAVAILABLE, "org.gantry1.Error.Unavailable" },
  { GANTRY_ERROR_DATA_LOSS, "org.gantry1.Error.DataLoss" },
  { GANTRY_ERROR_DEADLINE_EXCEEDED, "org.gantry1.Error.DeadlineExceeded" },
};

GQuark
gantry_error_quark (void)
{
  static gsize quark;

  g_dbus_error_register_error_domain ("gantry-error-quark", &quark, entries, G_N_ELEMENTS (entries));
  return (GQuark)quark;
}
