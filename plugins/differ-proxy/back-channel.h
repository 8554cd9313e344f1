/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The way back: a content service for the differ at the other end, on a socket of its own. The protocol names
 * blobs by digest and, in metadata, a namespace; here each call has a namespace of its own, an unguessable
 * one, which stands for the content that the caller gave, for as long as the call. So the differ sees what
 * its callers see, while it works for them, and nothing else.
 */
#pragma once

#include <gantry/differ.h>
#include <grpc-server.h>

typedef struct _BackChannel BackChannel;

/** Serves on the unix socket @path, whose directory is made. Errors: of listening. */
BackChannel *back_channel_new (const char *path, GError **error);
/** Accepts NULL. No call is open any more. */
void back_channel_free (BackChannel *self);

/** @progress: (nullable): told how much of a blob the differ has read. Returns: (transfer full): the
 * namespace of @content until back_channel_close () of it, after which @progress is not called; or NULL with
 * @error. */
char *back_channel_open (BackChannel *self, GantryContent *content, GantryDifferProgressFunc progress,
                         gpointer user_data, GError **error);
void back_channel_close (BackChannel *self, const char *name);
