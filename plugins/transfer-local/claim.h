/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One doer at a time: whoever claims a key does the work, and others who want the same wait until it is
 * released, then look whether it is done. */
#pragma once

#include <gio/gio.h>

typedef struct _Claims Claims;

Claims *claims_new (void);
void claims_free (Claims *self);

/** Claims @key if nobody has it. Returns: whether it is the caller's now. Blocks: no. */
gboolean claims_try (Claims *self, const char *key);
/** Claims @key, waiting until it is free. Errors: CANCELLED. */
gboolean claims_wait (Claims *self, const char *key, GCancellable *cancellable, GError **error);
/** Gives @key back. */
void claims_release (Claims *self, const char *key);
