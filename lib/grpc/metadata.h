/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "grpc-call.h"

/** Appends a pair that came from the peer, unchecked. */
void grpc_metadata_append_raw (GrpcMetadata *self, const char *name, gsize name_length, const char *value,
                               gsize value_length);
