/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A ttrpc connection to one shim. Calls block the calling thread until the answer is there; answers and events are read in the
 * context that the connection was made for. */
#pragma once

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <wire.h>

typedef struct _Connection Connection;

/** An event (an Envelope message, or NULL: the peer is gone). In the connection's context. */
typedef void (*ConnectionEventFunc) (Connection *connection, const char *topic, PbReader event, gboolean lost,
                                     gpointer user_data);

/** Connects to the socket @name in the directory @dir_fd. Errors: of connect. */
Connection *connection_new (int dir_fd, const char *name, GMainContext *context, ConnectionEventFunc func, gpointer user_data,
                            GError **error);
Connection *connection_ref (Connection *self);
void connection_unref (Connection *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Connection, connection_unref)

/** Calls "@service"/@method with the message @body (cleared) and @fds (nullable). *@ret_reply: (optional): its bytes.
 * Errors: the peer's own, UNAVAILABLE (it is gone), CANCELLED (the call goes on, its answer is dropped). */
gboolean connection_call (Connection *self, const char *service, const char *method, PbBuffer *body, GUnixFDList *fds,
                          GBytes **ret_reply, GCancellable *cancellable, GError **error);
/** Closes it; no event follows. */
void connection_close (Connection *self);
