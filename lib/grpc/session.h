/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The nghttp2 side of a connection.
 */
#pragma once

#include "conn.h"

nghttp2_session *grpc_session_new (GrpcConn *conn);

/** Gives input to nghttp2; on a broken peer the connection is broken, after a GOAWAY where one can be sent.
 */
void grpc_session_receive (GrpcConn *conn, const guint8 *data, gsize length);
