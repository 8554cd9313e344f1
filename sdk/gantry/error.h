/* SPDX-License-Identifier: MIT
 *
 * Errors
 * ------
 * Gantry has one error domain, GANTRY_ERROR. Its codes are the classes that containerd's clients know, so
 * that every frontend can translate them by a table: to a gRPC status or to a D-Bus name below
 * "org.gantry1.Error.".
 *
 * How a module reports an error:
 *
 *     if (blob == NULL)
 *       return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content %s is not in the store; pull the image
 * again", digest); if (fsync (fd) < 0) return gantry_throw_errno (error, errno, "syncing ingest %s", ref);
 *
 * One sentence, without a final full stop, that names the object and, where there is one, the remedy. Context
 * is added once, by the callee that knows it, with g_prefix_error (). Out-parameters stay untouched on
 * failure. Errors of GLib's own domains may be passed on as they are; gantry_error_normalize () maps them at
 * the edge.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <gio/gio.h>

G_BEGIN_DECLS

#define GANTRY_ERROR (gantry_error_quark ())

/** The classes of error. The values are ABI: they are only appended. The gRPC code of each stands behind it.
 */
typedef enum
{
  GANTRY_ERROR_UNKNOWN = 0,             /**< 2: only from a peer that gave no class */
  GANTRY_ERROR_CANCELLED = 1,           /**< 1: the caller's GCancellable fired, or the caller went away */
  GANTRY_ERROR_INVALID_ARGUMENT = 2,    /**< 3: the request can never succeed as it is */
  GANTRY_ERROR_NOT_FOUND = 3,           /**< 5 */
  GANTRY_ERROR_ALREADY_EXISTS = 4,      /**< 6 */
  GANTRY_ERROR_PERMISSION_DENIED = 5,   /**< 7: known caller, not allowed */
  GANTRY_ERROR_UNAUTHENTICATED = 6,     /**< 16: credentials are missing or wrong */
  GANTRY_ERROR_RESOURCE_EXHAUSTED = 7,  /**< 8: disk, quota, descriptors, or one of our own limits */
  GANTRY_ERROR_FAILED_PRECONDITION = 8, /**< 9: the object's state forbids it; change that and try again */
  GANTRY_ERROR_CONFLICT = 9,            /**< 9: somebody else is changing the object */
  GANTRY_ERROR_NOT_MODIFIED = 10,       /**< 9: nothing to do */
  GANTRY_ERROR_ABORTED = 11,            /**< 10: lost a race; the whole operation may be repeated */
  GANTRY_ERROR_OUT_OF_RANGE = 12,       /**< 11: an offset past the end */
  GANTRY_ERROR_NOT_IMPLEMENTED = 13,    /**< 12: this implementation cannot */
  GANTRY_ERROR_INTERNAL = 14,           /**< 13: a broken invariant */
  GANTRY_ERROR_UNAVAILABLE = 15,        /**< 14: not now; the same call may succeed later */
  GANTRY_ERROR_DATA_LOSS = 16,          /**< 15: a digest, a signature or a database is wrong */
  GANTRY_ERROR_DEADLINE_EXCEEDED = 17,  /**< 4 */
} GantryErrorCode;

/** How many codes there are; tables assert on it. */
#define GANTRY_ERROR_N_CODES 18

static inline GQuark
gantry_error_quark (void)
{
  return g_quark_from_static_string ("gantry-error-quark");
}

/** The name of @code as D-Bus spells it after "org.gantry1.Error.": "NotFound". Never NULL. */
static inline const char *
gantry_error_code_to_name (int code)
{
  static const char *const names[GANTRY_ERROR_N_CODES] = {
    "Unknown",          "Cancelled",       "InvalidArgument",   "NotFound",           "AlreadyExists",
    "PermissionDenied", "Unauthenticated", "ResourceExhausted", "FailedPrecondition", "Conflict",
    "NotModified",      "Aborted",         "OutOfRange",        "NotImplemented",     "Internal",
    "Unavailable",      "DataLoss",        "DeadlineExceeded",
  };
  return code >= 0 && code < GANTRY_ERROR_N_CODES ? names[code] : names[GANTRY_ERROR_UNKNOWN];
}

/** The gRPC status code (google.rpc.Code) of @code. */
static inline int
gantry_error_code_to_grpc (int code)
{
  static const int codes[GANTRY_ERROR_N_CODES]
      = { 2, 1, 3, 5, 6, 7, 16, 8, 9, 9, 9, 10, 11, 12, 13, 14, 15, 4 };
  return code >= 0 && code < GANTRY_ERROR_N_CODES ? codes[code] : 2;
}

/** The class of the gRPC status code @grpc. 9 is ambiguous and reads as FAILED_PRECONDITION. */
static inline GantryErrorCode
gantry_error_code_from_grpc (int grpc)
{
  int code;

  if (grpc == 2)
    return GANTRY_ERROR_UNKNOWN;
  for (code = 1; code < GANTRY_ERROR_N_CODES; code++)
    if (gantry_error_code_to_grpc (code) == grpc)
      return (GantryErrorCode)code;
  return GANTRY_ERROR_UNKNOWN;
}

/** The class that fits the errno value @saved_errno. */
static inline GantryErrorCode
gantry_error_code_from_errno (int saved_errno)
{
  switch (saved_errno)
    {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO:
      return GANTRY_ERROR_NOT_FOUND;
    case EEXIST:
      return GANTRY_ERROR_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
      return GANTRY_ERROR_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return GANTRY_ERROR_RESOURCE_EXHAUSTED;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      return GANTRY_ERROR_INVALID_ARGUMENT;
    case ENOSYS:
    case EOPNOTSUPP:
      return GANTRY_ERROR_NOT_IMPLEMENTED;
    case EBUSY:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
      return GANTRY_ERROR_FAILED_PRECONDITION;
    case EAGAIN:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return GANTRY_ERROR_UNAVAILABLE;
    case ECANCELED:
      return GANTRY_ERROR_CANCELLED;
    case ETIMEDOUT:
      return GANTRY_ERROR_DEADLINE_EXCEEDED;
    case EBADMSG:
    case EUCLEAN:
      return GANTRY_ERROR_DATA_LOSS;
    default:
      return GANTRY_ERROR_INTERNAL;
    }
}

/** The class of @error whatever its domain: G_IO_ERROR, G_FILE_ERROR, G_KEY_FILE_ERROR and G_CONVERT_ERROR
 * are mapped. Returns: -1 for a domain that has no map. */
static inline int
gantry_error_classify (const GError *error)
{
  static const struct
  {
    int io;
    int code;
  } io_map[] = {
    { G_IO_ERROR_NOT_FOUND, GANTRY_ERROR_NOT_FOUND },
    { G_IO_ERROR_EXISTS, GANTRY_ERROR_ALREADY_EXISTS },
    { G_IO_ERROR_PERMISSION_DENIED, GANTRY_ERROR_PERMISSION_DENIED },
    { G_IO_ERROR_READ_ONLY, GANTRY_ERROR_PERMISSION_DENIED },
    { G_IO_ERROR_INVALID_ARGUMENT, GANTRY_ERROR_INVALID_ARGUMENT },
    { G_IO_ERROR_INVALID_DATA, GANTRY_ERROR_INVALID_ARGUMENT },
    { G_IO_ERROR_INVALID_FILENAME, GANTRY_ERROR_INVALID_ARGUMENT },
    { G_IO_ERROR_FILENAME_TOO_LONG, GANTRY_ERROR_INVALID_ARGUMENT },
    { G_IO_ERROR_NO_SPACE, GANTRY_ERROR_RESOURCE_EXHAUSTED },
    { G_IO_ERROR_TOO_MANY_OPEN_FILES, GANTRY_ERROR_RESOURCE_EXHAUSTED },
    { G_IO_ERROR_MESSAGE_TOO_LARGE, GANTRY_ERROR_RESOURCE_EXHAUSTED },
    { G_IO_ERROR_BUSY, GANTRY_ERROR_FAILED_PRECONDITION },
    { G_IO_ERROR_NOT_EMPTY, GANTRY_ERROR_FAILED_PRECONDITION },
    { G_IO_ERROR_NOT_DIRECTORY, GANTRY_ERROR_FAILED_PRECONDITION },
    { G_IO_ERROR_IS_DIRECTORY, GANTRY_ERROR_FAILED_PRECONDITION },
    { G_IO_ERROR_NOT_SUPPORTED, GANTRY_ERROR_NOT_IMPLEMENTED },
    { G_IO_ERROR_CANCELLED, GANTRY_ERROR_CANCELLED },
    { G_IO_ERROR_TIMED_OUT, GANTRY_ERROR_DEADLINE_EXCEEDED },
    { G_IO_ERROR_CONNECTION_REFUSED, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_CONNECTION_CLOSED, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_HOST_NOT_FOUND, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_HOST_UNREACHABLE, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_NETWORK_UNREACHABLE, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_NOT_CONNECTED, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_WOULD_BLOCK, GANTRY_ERROR_UNAVAILABLE },
    { G_IO_ERROR_PARTIAL_INPUT, GANTRY_ERROR_DATA_LOSS },
  };
  gsize i;

  if (error->domain == GANTRY_ERROR)
    return error->code;
  if (error->domain == G_IO_ERROR)
    {
      for (i = 0; i < G_N_ELEMENTS (io_map); i++)
        if (io_map[i].io == error->code)
          return io_map[i].code;
      return GANTRY_ERROR_INTERNAL;
    }
  if (error->domain == G_KEY_FILE_ERROR || error->domain == G_CONVERT_ERROR)
    return GANTRY_ERROR_INVALID_ARGUMENT;
  if (error->domain == G_FILE_ERROR)
    {
      if (error->code == G_FILE_ERROR_NOENT)
        return GANTRY_ERROR_NOT_FOUND;
      if (error->code == G_FILE_ERROR_EXIST)
        return GANTRY_ERROR_ALREADY_EXISTS;
      if (error->code == G_FILE_ERROR_ACCES || error->code == G_FILE_ERROR_PERM)
        return GANTRY_ERROR_PERMISSION_DENIED;
      return GANTRY_ERROR_INTERNAL;
    }
  return -1;
}

/** Turns *@error into the GANTRY_ERROR domain, keeping its message. Called once, at the edge, by frontends
 * and by the daemon's log. A domain without a map is a g_critical and becomes INTERNAL. Does nothing if
 * @error or *@error is NULL. */
static inline void
gantry_error_normalize (GError **error)
{
  int code;

  if (error == NULL || *error == NULL || (*error)->domain == GANTRY_ERROR)
    return;
  code = gantry_error_classify (*error);
  if (code < 0)
    {
      g_critical ("error of the unmapped domain %s: %s", g_quark_to_string ((*error)->domain),
                  (*error)->message);
      code = GANTRY_ERROR_INTERNAL;
    }
  (*error)->domain = GANTRY_ERROR;
  (*error)->code = code;
}

/** Whether @error is of class @code, whatever its domain. FALSE for NULL. */
static inline gboolean
gantry_error_is (const GError *error, GantryErrorCode code)
{
  return error != NULL && gantry_error_classify (error) == (int)code;
}

static inline gboolean gantry_throw (GError **error, GantryErrorCode code, const char *format, ...)
    G_GNUC_PRINTF (3, 4);
static inline gboolean gantry_throw_errno (GError **error, int saved_errno, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/** Sets @error. Returns: FALSE, so that a caller can return it. */
static inline gboolean
gantry_throw (GError **error, GantryErrorCode code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error != NULL)
    *error = g_error_new_valist (GANTRY_ERROR, code, format, args);
  va_end (args);
  return FALSE;
}

/** Sets @error to "<format>: <strerror>" with the class of @saved_errno. Returns: FALSE. */
static inline gboolean
gantry_throw_errno (GError **error, int saved_errno, const char *format, ...)
{
  va_list args;
  char *what;

  va_start (args, format);
  what = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, GANTRY_ERROR, gantry_error_code_from_errno (saved_errno), "%s: %s", what,
               g_strerror (saved_errno));
  g_free (what);
  return FALSE;
}

G_END_DECLS
