/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/** Tells the service manager @state ("READY=1"), if one that wants to know has started this process. Does not
 * block. Source of the protocol: sd_notify(3), "Notes". */
void notify_manager (const char *state);
