/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The plugin at the other end of a proxy: a socket, and whether it answers.
 *
 * Every call has a deadline (Timeout= seconds, 30 unless set). After three calls in a row that got no answer
 * the peer is *down*: calls fail at once with UNAVAILABLE, the host is told (`gantry plugin list`), and a
 * probe every second finds out when it answers again. So a peer that hangs costs a few of its own callers a
 * deadline and nobody else anything. A peer whose socket is not there is down at once.
 */
#pragma once

#include <gantry/messages.h>
#include <gantry/plugin.h>
#include <grpc-client.h>

#include "wireconv.h"

typedef struct _Peer Peer;

/** The peer that the configuration names. Does not wait for a connection. Errors: INVALID_ARGUMENT
 * (configuration). */
Peer *peer_new (const GantryHost *host, GError **error);
/** One for a piece of work of somebody who is there now: at @address, told @metadata, tried at each call and
 * never counted as down. Calls have @seconds. Errors: INVALID_ARGUMENT. */
Peer *peer_new_at (const GantryHost *host, const char *address, GrpcMetadata *metadata, guint seconds,
                   GError **error);
/** @self for calls that are sent with @metadata. It uses the connection of @self, which must stay. */
Peer *peer_with_metadata (Peer *self, GrpcMetadata *metadata);
/** No call is under way any more. */
void peer_free (Peer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Peer, peer_free)

/** What the plugin is called at the other end: Name=, or the plugin's id. Returns: (transfer none). */
const char *peer_get_name (Peer *self);

/** Whether the peer's plugin of @type (as containerd spells it) and @id (NULL: any) says by the introspection
 * service that it can do @capability. Asked once; who has no such service can nothing. Blocks: shortly, the
 * first time. */
gboolean peer_has_capability (Peer *self, const char *type, const char *id, const char *capability);

/** Calls the unary @path. @timeout_factor: how many times Timeout= it may take. Blocks: so long. Errors: the
 * peer's; UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED. Returns: (transfer full): a message of @reply;
 * wire_message_free (). */
gpointer peer_call (Peer *self, const char *path, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *reply, guint timeout_factor, GCancellable *cancellable,
                    GError **error);

/** Called for each message of a stream, on the thread that waits. Returns: FALSE to stop (a success). */
typedef gboolean (*PeerMessage) (gconstpointer message, gpointer user_data, GError **error);

/** Calls the server-streaming @path; one message at a time is on its way. Returns: FALSE with @error, also of
 * @func when it stopped with one. */
gboolean peer_read (Peer *self, const char *path, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *reply, PeerMessage func, gpointer user_data,
                    GCancellable *cancellable, GError **error);

/** A call with messages both ways, one at a time: for content's Write. */
typedef struct _PeerStream PeerStream;

PeerStream *peer_open (Peer *self, const char *path, const ProtobufCMessageDescriptor *reply, GError **error);
/** Sends @request and waits for one reply. Returns: (transfer full). */
gpointer peer_stream_exchange (PeerStream *self, const ProtobufCMessage *request, GCancellable *cancellable,
                               GError **error);
/** Says that nothing more is sent and waits until the other end is done with it, so that what it held is free
 * again; at most a deadline. */
void peer_stream_close (PeerStream *self);
/** Gives up what is not over. Accepts NULL. */
void peer_stream_free (PeerStream *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PeerStream, peer_stream_free)
