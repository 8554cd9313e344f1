/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Memory that is given back all at once: what a call needs while it runs. Not thread-safe. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/** All that one arena may hold: what a request can blow up to. */
#define ARENA_MAX (64 * 1024 * 1024)

typedef struct _ArenaBlock ArenaBlock;

typedef struct
{
  ProtobufCAllocator allocator; /**< for protobuf-c: its free does nothing */
  ArenaBlock *blocks;
  gsize used;      /**< of the newest block */
  gsize available; /**< in it */
  gsize total;
  GSList *kept;
  char first[2048];
} Arena;

void arena_init (Arena *self);
void arena_clear (Arena *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Arena, arena_clear)

/** Zeroed memory. Never fails: our own replies are bounded. */
gpointer arena_alloc (Arena *self, gsize size);
#define arena_new(self, Type, n) ((Type *)arena_alloc ((self), sizeof (Type) * (n)))
char *arena_strdup (Arena *self, const char *text);
char *arena_printf (Arena *self, const char *format, ...) G_GNUC_PRINTF (2, 3);
/** Calls @destroy (@data) when the arena is cleared. */
void arena_keep (Arena *self, gpointer data, GDestroyNotify destroy);
