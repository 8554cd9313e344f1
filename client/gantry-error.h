/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define GANTRY_ERROR (gantry_error_quark ())

/**
 * GantryError:
 * @GANTRY_ERROR_UNKNOWN: no class was given
 * @GANTRY_ERROR_CANCELLED: it was cancelled
 * @GANTRY_ERROR_INVALID_ARGUMENT: the request can never succeed as it is
 * @GANTRY_ERROR_NOT_FOUND: there is no such object
 * @GANTRY_ERROR_ALREADY_EXISTS: there is one already
 * @GANTRY_ERROR_PERMISSION_DENIED: the caller may not do it
 * @GANTRY_ERROR_UNAUTHENTICATED: credentials are missing or wrong
 * @GANTRY_ERROR_RESOURCE_EXHAUSTED: disk, quota or a limit
 * @GANTRY_ERROR_FAILED_PRECONDITION: the object's state forbids it
 * @GANTRY_ERROR_CONFLICT: somebody else is changing the object
 * @GANTRY_ERROR_NOT_MODIFIED: nothing to do
 * @GANTRY_ERROR_ABORTED: a race was lost; try the whole again
 * @GANTRY_ERROR_OUT_OF_RANGE: an offset past the end
 * @GANTRY_ERROR_NOT_IMPLEMENTED: the daemon, or one of its modules, cannot
 * @GANTRY_ERROR_INTERNAL: a bug
 * @GANTRY_ERROR_UNAVAILABLE: not now
 * @GANTRY_ERROR_DATA_LOSS: a digest, signature or database is wrong
 * @GANTRY_ERROR_DEADLINE_EXCEEDED: it took too long
 *
 * The classes of error, as the daemon has them. Their D-Bus names are org.gantry1.Error.<class>.
 */
typedef enum /*< error-domain=gantry-error-quark >*/
{
  GANTRY_ERROR_UNKNOWN = 0,
  GANTRY_ERROR_CANCELLED = 1,
  GANTRY_ERROR_INVALID_ARGUMENT = 2,
  GANTRY_ERROR_NOT_FOUND = 3,
  GANTRY_ERROR_ALREADY_EXISTS = 4,
  GANTRY_ERROR_PERMISSION_DENIED = 5,
  GANTRY_ERROR_UNAUTHENTICATED = 6,
  GANTRY_ERROR_RESOURCE_EXHAUSTED = 7,
  GANTRY_ERROR_FAILED_PRECONDITION = 8,
  GANTRY_ERROR_CONFLICT = 9,
  GANTRY_ERROR_NOT_MODIFIED = 10,
  GANTRY_ERROR_ABORTED = 11,
  GANTRY_ERROR_OUT_OF_RANGE = 12,
  GANTRY_ERROR_NOT_IMPLEMENTED = 13,
  GANTRY_ERROR_INTERNAL = 14,
  GANTRY_ERROR_UNAVAILABLE = 15,
  GANTRY_ERROR_DATA_LOSS = 16,
  GANTRY_ERROR_DEADLINE_EXCEEDED = 17,
} GantryError;

GQuark gantry_error_quark (void);

G_END_DECLS
