/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list that is sent in messages of some infos each.
 */
#pragma once

#include <grpc-call.h>

/** The message that has @infos (of value types). Returns: (transfer full). */
typedef GBytes *(*ListStreamPack) (GPtrArray *infos);

typedef struct
{
  ListStreamPack pack;
  GPtrArray *messages;
  GPtrArray *infos; /* of the message that is being filled */
} ListStream;

ListStream list_stream_new (ListStreamPack pack);
/** Takes a reference to @info. */
void list_stream_add (ListStream *self, gpointer info);
/** Sends all of it as the peer reads it, then ends @call with OK; with @error (nullable) only ends it. Frees
 * what @self has. */
void list_stream_send (ListStream *self, GrpcCall *call, const GError *error);
