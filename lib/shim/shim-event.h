/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What shims tell: containerd's Envelope { timestamp = 1, namespace = 2, topic = 3, event = 4 (Any) }
 * (api/services/events/v1/events.proto) with one of the messages of api/events/task.proto, whose fields are
 * read by number. */
#pragma once

#include <glib.h>
#include <wire.h>

typedef struct
{
  char *ns;
  char *topic;   /* "/tasks/exit" */
  char *text[3]; /* by field number; 1 is the container */
  guint64 number[8];
  gint64 time[8]; /* in ns */
} ShimEvent;

/** Reads an Envelope into @event, which is zeroed. Returns: FALSE if it has no topic or names no container.
 */
gboolean shim_event_read (ShimEvent *event, PbReader envelope);
void shim_event_clear (ShimEvent *event);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ShimEvent, shim_event_clear)
