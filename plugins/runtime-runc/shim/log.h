/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The log of a process's outputs: a file that is moved to "<path>.1" when it has grown large, so that both
 * together are bounded. Its lines are those of Kubernetes' container logs (kubelet CRI logging): time,
 * "stdout" or "stderr", "F" for a whole line or "P" for a part of one, and the text. */
#pragma once

#include <stddef.h>

typedef struct Log Log;

/** Opens or makes one. Returns: NULL with errno. */
Log *log_open (const char *path);
Log *log_ref (Log *log);
/** Accepts NULL. */
void log_unref (Log *log);
const char *log_path (const Log *log);
/** Appends what @stream has written. What can't be written, on a full disk, is lost. */
void log_write (Log *log, const char *stream, const char *data, size_t length);
