/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gunixfdlist.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_STDIO (gantry_stdio_get_type ())
G_DECLARE_FINAL_TYPE (GantryStdio, gantry_stdio, GANTRY, STDIO, GObject)

GantryStdio *gantry_stdio_new (const char *stdin_uri, const char *stdout_uri, const char *stderr_uri,
                               gboolean terminal);
GantryStdio *gantry_stdio_new_for_fds (int stdin_fd, int stdout_fd, int stderr_fd);
GantryStdio *gantry_stdio_new_for_console (int fd);
GantryStdio *gantry_stdio_new_kept (gboolean terminal);
GantryStdio *gantry_stdio_new_logged (gboolean terminal);

G_END_DECLS
