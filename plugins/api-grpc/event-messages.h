/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Events as containerd's clients know them: an Envelope with a typed message. */
#pragma once

#include "convert.h"

/** What @event is in containerd's terms. Returns: NULL for one that it does not have. */
const Containerd__Types__Envelope *event_to_envelope (Call *call, GantryEvent *event);

/** The descriptor of the event type @type_url, or NULL. */
const ProtobufCMessageDescriptor *event_descriptor (const char *type_url);
