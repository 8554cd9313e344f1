/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A ttrpc connection to one shim. Answers and events are read in the context that the connection was made
 * for, in the order in which the shim sent them. */
#pragma once

#include "shim-event.h"

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

typedef struct _Connection Connection;

/** An event, or NULL: the peer is gone, and nothing follows. In the connection's context. */
typedef void (*ConnectionEventFunc) (Connection *connection, const ShimEvent *event, gpointer user_data);
/** The answer to one call: @reply's bytes, or @error. Once, in the connection's context, or, when the
 * connection is closed, in the thread that closes it. */
typedef void (*ConnectionReplyFunc) (GBytes *reply, const GError *error, gpointer user_data);

/** Connects to the socket @path. Errors: of connect. */
Connection *connection_new (const char *path, GMainContext *context, ConnectionEventFunc func,
                            gpointer user_data, GError **error);
Connection *connection_ref (Connection *self);
void connection_unref (Connection *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Connection, connection_unref)

/** Sends the call "@service"/@method with the message @body (cleared) and @fds (nullable); @func gets the
 * answer, unless this fails. Blocks: until the kernel has taken it. Errors: UNAVAILABLE (the peer is gone),
 * RESOURCE_EXHAUSTED (too long). */
gboolean connection_send (Connection *self, const char *service, const char *method, PbBuffer *body,
                          GUnixFDList *fds, ConnectionReplyFunc func, gpointer user_data, GError **error);
/** The same, and waits for the answer. *@ret_reply: (optional) (transfer full): its bytes.
 * Errors: also the peer's own, CANCELLED (the call goes on, its answer is dropped). */
gboolean connection_call (Connection *self, const char *service, const char *method, PbBuffer *body,
                          GUnixFDList *fds, GBytes **ret_reply, GCancellable *cancellable, GError **error);
/** Closes it; no event follows, and calls that wait fail. */
void connection_close (Connection *self);
