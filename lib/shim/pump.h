/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pump copies one descriptor to several, in the thread of a GMainContext. It reads when all have taken what
 * it read before, so the slowest sets the pace and the memory is one buffer; without a sink it reads and
 * drops. Nothing is set on the descriptors, which others may share: at most what fits into a ready pipe is
 * written at a time. MT-safe; no call blocks for longer than one such write. */
#pragma once

#include <glib.h>

typedef struct _Pump Pump;

/** The source has ended, or could not be read. Once, in the context. */
typedef void (*PumpEndFunc) (gpointer user_data);

/** Makes one that has not begun; takes over @source. @ended: (nullable); @destroy (nullable) is called for
 * @user_data when nobody needs it any more. */
Pump *pump_new (GMainContext *context, int source, PumpEndFunc ended, gpointer user_data,
                GDestroyNotify destroy);
Pump *pump_ref (Pump *self);
/** Accepts NULL. */
void pump_unref (Pump *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Pump, pump_unref)

/** Adds a sink; takes over @fd, also when it fails. @shut_down: of a socket that is also read, which would
 * not end by being closed here. Returns: FALSE if there are too many. */
gboolean pump_add_sink (Pump *self, int fd, gboolean shut_down);
void pump_start (Pump *self);
gboolean pump_has_started (Pump *self);
gboolean pump_is_over (Pump *self);
/** Has it look for the end: a FIFO that was opened when nobody wrote to it does not tell by itself that
 * nobody will. */
void pump_look (Pump *self);
/** Ends it at once, without calling its PumpEndFunc. */
void pump_stop (Pump *self);
