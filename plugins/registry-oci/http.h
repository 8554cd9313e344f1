/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * HTTP exchanges, synchronous for the caller, on one thread of their own that has libsoup's sessions. Nothing
 * here knows registries: a redirect, a 401 and a 404 are answers like any other.
 *
 * A reply's body is read ahead by at most HTTP_BUFFER bytes; then the connection is not read until the reader
 * goes on. That holds for HTTP/1.1 only, because libsoup 3.2 reads HTTP/2 without regard to who takes the
 * data. So what may be large ("bulk") goes over connections that offer HTTP/1.1 only, and documents, which
 * are small, may come over HTTP/2.
 */
#pragma once

#include <gantry/plugin.h>
#include <libsoup/soup.h>

/** What a body is read ahead, in bytes. */
#define HTTP_BUFFER (256 * 1024)

typedef struct _Http Http;

/** Settings, all with defaults. */
typedef struct
{
  guint connect_ms;     /**< until a connection stands */
  guint answer_ms;      /**< from the end of the request until the header of the answer is complete */
  guint stall_ms;       /**< how often the rate is looked at */
  guint64 minimum_rate; /**< bytes a second that a body must bring (or take) while somebody waits for it */
  const char
      *proxy; /**< (nullable): for everything; NULL: the environment's http_proxy, https_proxy, all_proxy */
  const char
      *no_proxy; /**< (nullable): NULL: the environment's no_proxy; loopback is never asked through a proxy */
} HttpSettings;

/** Makes it; the thread starts with the first exchange. Returns: (transfer full). */
Http *http_new (const HttpSettings *settings);
/** Ends every exchange and the thread. */
void http_free (Http *self);
/** The proxy for @url. Returns: (transfer full) (nullable): NULL: directly. */
char *http_get_proxy (Http *self, const char *url);

/** How peers prove who they are. Immutable, counted. */
typedef struct
{
  GANTRY_VALUE;
  char *key; /**< the same for the same settings: connections are shared by it */
  gboolean skip_verify;
  GPtrArray *authorities; /**< (element-type GTlsDatabase): good besides the system's */
  GPtrArray *clients;     /**< (element-type GTlsCertificate): our own, in order */
} HttpTls;

GANTRY_DEFINE_VALUE (HttpTls, http_tls)

/** Makes one. @ca_files: (nullable). @clients: (nullable): pairs of files, of a certificate and of its key,
 * or "" if that stands in the same file. Errors: INVALID_ARGUMENT, naming the file. Returns: (transfer full).
 */
HttpTls *http_tls_new (gboolean skip_verify, const char *const *ca_files, const char *const *clients,
                       GError **error);
/** Which of our certificates, of which there is one at least, the peer of @connection is shown: the first
 * that is signed, at whatever remove, by an authority that the peer names; else the first. Returns: (transfer
 * none). */
GTlsCertificate *http_tls_choose (HttpTls *self, GTlsClientConnection *connection);
/** Whether the certificate @peer, which the system's authorities do not vouch for, is good for @host
 * nevertheless. */
gboolean http_tls_accepts (HttpTls *self, GTlsCertificate *peer, const char *host);

/** A request. Everything is borrowed for the time of http_send (). */
typedef struct
{
  const char *method;
  const char *url;
  SoupMessageHeaders *headers; /**< (nullable) */
  HttpTls *tls;
  gboolean bulk;            /**< the body may be large, either way */
  guint connect_ms;         /**< 0: as set */
  const char *content_type; /**< of the body */
  GBytes *body;             /**< (nullable) */
  int fd;                   /**< if @body is NULL and @length is not 0: read with pread () from @offset on */
  guint64 offset, length;
  gboolean has_fd;
  void (*progress) (guint64 bytes,
                    gpointer user_data); /**< (nullable): of @fd's bytes taken so far; from any thread */
  gpointer user_data;
} HttpRequest;

/** What became of a request. Used by one thread at a time. */
typedef struct _HttpReply HttpReply;

/** Sends @request and waits for the header of the answer. Blocks: on the network. Errors: UNAVAILABLE (no
 * connection, broken), DEADLINE_EXCEEDED, FAILED_PRECONDITION (the certificate), CANCELLED. Returns:
 * (transfer full). */
HttpReply *http_send (Http *self, const HttpRequest *request, GCancellable *cancellable, GError **error);

guint http_reply_get_status (HttpReply *self);
/** The value of the header @name. Returns: (transfer none) (nullable). */
const char *http_reply_get_header (HttpReply *self, const char *name);
/** All values of @name. Returns: (transfer full): NULL-terminated. */
char **http_reply_get_headers (HttpReply *self, const char *name);
/** The Content-Length. Returns: FALSE if there is none. */
gboolean http_reply_get_length (HttpReply *self, guint64 *ret_length);
/** "TLS 1.3, HTTP/2" and the like. Returns: (transfer none). */
const char *http_reply_get_protocol (HttpReply *self);

/** Reads up to @size bytes. Blocks: on the network. Returns: 0 at the end, -1 with @error: UNAVAILABLE
 * (broken, also: ended too early), DEADLINE_EXCEEDED (too slow), CANCELLED. */
gssize http_reply_read (HttpReply *self, void *buffer, gsize size, GCancellable *cancellable, GError **error);
/** Reads the rest. Errors: as http_reply_read (); RESOURCE_EXHAUSTED past @limit. Returns: (transfer full).
 */
GBytes *http_reply_read_all (HttpReply *self, gsize limit, GCancellable *cancellable, GError **error);

/** Ends it; what has not been read is thrown away with its connection. Accepts NULL. Blocks: no. */
void http_reply_free (HttpReply *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (HttpReply, http_reply_free)
