/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tls.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

typedef struct
{
  GrpcTlsContext base;
  SSL_CTX *ssl;
} Context;

typedef struct
{
  GrpcTlsSession base;
  SSL *ssl;
  gboolean wants_write;
} Session;

static gboolean
fail (GError **error, const char *what, const char *path)
{
  const char *reason = ERR_reason_error_string (ERR_peek_last_error ());

  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s %s cannot be used: %s", what, path,
                reason != NULL ? reason : "unknown error");
  ERR_clear_error ();
  return FALSE;
}

static int
select_protocol (SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                 unsigned in_length, void *data)
{
  static const unsigned char h2[] = { 2, 'h', '2' };

  if (SSL_select_next_proto ((unsigned char **)out, out_length, h2, sizeof h2, in, in_length)
      != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  return SSL_TLSEXT_ERR_OK;
}

static gboolean
load_files (Context *self, const GrpcTls *files, GError **error)
{
  if (SSL_CTX_use_certificate_chain_file (self->ssl, files->certificate) != 1)
    return fail (error, "TLS certificate", files->certificate);
  if (SSL_CTX_use_PrivateKey_file (self->ssl, files->key, SSL_FILETYPE_PEM) != 1
      || SSL_CTX_check_private_key (self->ssl) != 1)
    return fail (error, "TLS key", files->key);
  if (files->client_ca == NULL)
    return TRUE;
  if (SSL_CTX_load_verify_locations (self->ssl, files->client_ca, NULL) != 1)
    return fail (error, "TLS authority", files->client_ca);
  SSL_CTX_set_verify (self->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  return TRUE;
}

static void
context_free (GrpcTlsContext *context)
{
  Context *self = (Context *)context;

  SSL_CTX_free (self->ssl);
  g_free (self);
}

static GrpcTlsContext *
context_new (const GrpcTls *files, GError **error)
{
  Context *self;

  if (files->certificate == NULL || files->key == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "TLS wants a certificate and a key");
      return NULL;
    }
  self = g_new0 (Context, 1);
  self->base.ops = &grpc_tls;
  self->ssl = SSL_CTX_new (TLS_server_method ());
  SSL_CTX_set_min_proto_version (self->ssl, TLS1_2_VERSION);
  SSL_CTX_set_options (self->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode (self->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                   | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb (self->ssl, select_protocol, NULL);
  if (!load_files (self, files, error))
    {
      context_free (&self->base);
      return NULL;
    }
  return &self->base;
}

static GrpcTlsSession *
session_new (GrpcTlsContext *context, int fd)
{
  Session *self = g_new0 (Session, 1);

  self->base.ops = &grpc_tls;
  self->ssl = SSL_new (((Context *)context)->ssl);
  SSL_set_fd (self->ssl, fd);
  SSL_set_accept_state (self->ssl);
  return &self->base;
}

static void
session_free (GrpcTlsSession *session)
{
  Session *self = (Session *)session;

  SSL_free (self->ssl);
  g_free (self);
}

static gssize
result (Session *self, int n)
{
  int reason = SSL_get_error (self->ssl, n);

  self->wants_write = reason == SSL_ERROR_WANT_WRITE;
  if (n > 0)
    return n;
  if (reason == SSL_ERROR_ZERO_RETURN)
    return 0;
  if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
    errno = EAGAIN;
  else if (reason == SSL_ERROR_SSL)
    errno = EPROTO;
  else if (errno == 0)
    return 0;
  return -1;
}

static gssize
session_read (GrpcTlsSession *session, void *data, gsize length)
{
  Session *self = (Session *)session;

  ERR_clear_error ();
  errno = 0;
  return result (self, SSL_read (self->ssl, data, (int)MIN (length, G_MAXINT)));
}

static gssize
session_write (GrpcTlsSession *session, const void *data, gsize length)
{
  Session *self = (Session *)session;

  ERR_clear_error ();
  errno = 0;
  return result (self, SSL_write (self->ssl, data, (int)MIN (length, G_MAXINT)));
}

static gboolean
session_has_pending (GrpcTlsSession *session)
{
  return SSL_has_pending (((Session *)session)->ssl) != 0;
}

static gboolean
session_wants_write (GrpcTlsSession *session)
{
  return ((Session *)session)->wants_write;
}

const GrpcTlsOps grpc_tls = {
  .context_new = context_new,
  .context_free = context_free,
  .session_new = session_new,
  .session_free = session_free,
  .read = session_read,
  .write = session_write,
  .has_pending = session_has_pending,
  .wants_write = session_wants_write,
};
