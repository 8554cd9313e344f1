/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Gives up what the worker does not need before it reads the first byte from outside.
 */
#pragma once

#include "unpack-common.h"

/** Lets the process gain no privileges and be read by nobody, and sets resource limits. */
gboolean unpack_sandbox_begin (const UnpackLimits *limits, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Drops capabilities and system calls. Afterwards only the trees that are open can be reached, and no
 * network, process or mount at all. */
gboolean unpack_sandbox_close (GError **error) G_GNUC_WARN_UNUSED_RESULT;
