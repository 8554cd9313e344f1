/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A registry client for HTTP. From below: http.h moves bytes; host.c sends one request to one host, with
 * credentials, redirects and another try where that helps; repository.c and its neighbours ask the hosts of a
 * repository one after the other. */
#pragma once

#include <gantry/registry.h>
#include <oci.h>
#include <reference.h>

#include "http.h"

#define MAX_DOCUMENT   GANTRY_MAX_MANIFEST
#define MAX_ERROR_BODY (64 * 1024)

/** What a manifest may be; registries answer 404 for a kind that is not asked for. */
#define MANIFEST_ACCEPT OCI_INDEX ", " OCI_MANIFEST ", " DOCKER_INDEX ", " DOCKER_MANIFEST ", */*"
#define SCHEMA1         "application/vnd.docker.distribution.manifest.v1+json"
#define SCHEMA1_SIGNED  "application/vnd.docker.distribution.manifest.v1+prettyjws"
/* Where nothing else is to be had. */
#define SCHEMA1_ACCEPT                                                                                       \
  OCI_INDEX ", " OCI_MANIFEST ", " DOCKER_INDEX ", " DOCKER_MANIFEST ", " SCHEMA1_SIGNED ";q=0.5, " SCHEMA1  \
            ";q=0.4, */*;q=0.1"

typedef enum
{
  CAN_PULL = 1,    /* blobs and manifests by digest */
  CAN_RESOLVE = 2, /* tags */
  CAN_PUSH = 4,
  CAN_REFER = 8, /* the referrers API */
  CAN_ALL = 15,
} HostCapabilities;

typedef struct _RegistryClient RegistryClient;

typedef struct
{
  GantryRegistry registry;
  const GantryHost *host;
  HttpSettings http_settings;
  const RegistryClient *client; /* NULL until it is needed; with lock, as http */
  Http *http;
  char **short_names; /* prefixes */
  char **hosts_dirs;
  char **auth_files;
  guint attempts;    /* of a request at one host */
  guint backoff_ms;  /* before the second; doubled for each */
  guint max_wait_ms; /* the longest pause that Retry-After may ask for */
  guint helper_ms;
  GMutex lock;
  GHashTable *tokens; /* token.c; with lock */
  GMutex auth_lock;   /* the file of login () */
} RegistryOci;

/** The client that all this is, as the module has it: a part (part.h), since libsoup and what it needs are a
 * tenth of the daemon's memory at rest. */
struct _RegistryClient
{
  Http *(*http_new) (const HttpSettings *settings);
  void (*http_free) (Http *self);
  GantryRegistryVtable vtable; /* complete is the module's */
};

/** A place where a server's repositories may be had. Immutable, counted. */
typedef struct
{
  GANTRY_VALUE;
  char *base;   /* "https://registry-1.docker.io/v2", without a last "/" */
  char *name;   /* "registry-1.docker.io", with a port if it is not the scheme's */
  char *origin; /* for people */
  char *server; /* of the references that it serves: "docker.io" */
  guint capabilities;
  gboolean mirror;
  gboolean foreign;    /* the base is the URL of one blob */
  gboolean plain_http; /* allowed beyond loopback */
  char **headers;      /* (nullable): name, value, … */
  char **ca_files;     /* (nullable): shown by explain */
  HttpTls *tls;
  HttpTls *tls_elsewhere; /* for where it redirects to: without the client's certificate */
  guint connect_ms;
} RegistryHost;

GANTRY_DEFINE_VALUE (RegistryHost, registry_host)

/** Who we are to one host in one open repository. */
typedef struct
{
  GMutex lock;
  GCond cond;
  gboolean busy;  /* somebody is asking for credentials or a token; with lock, as all below */
  gboolean known; /* credentials were looked up */
  GantryCredentials *credentials;
  GHashTable *authorizations; /* scope -> Authorization value */
} HostAuth;

typedef struct
{
  GantryRepository repository;
  gatomicrefcount refs;
  RegistryOci *registry;
  GantryReference *reference;
  char *name; /* the reference as a string */
  GantryRegistryAccess *access;
  GPtrArray *hosts; /* of RegistryHost */
  HostAuth *auths;  /* one a host */
  gboolean schema1;
} OciRepository;

/* host.c */

typedef struct
{
  const char *method;
  char *path;               /* below the base: "library/busybox/manifests/1"; or a whole URL */
  const char *accept;       /* (nullable) */
  const char *actions;      /* for the scope: "pull" or "pull,push" */
  const char *mount_from;   /* (nullable): another repository to read from */
  const char *content_type; /* of the body */
  GBytes *body;
  const char *range;         /* (nullable): the Range header's value */
  const char *content_range; /* (nullable) */
  gboolean bulk, has_fd, once;
  int fd;
  guint64 offset, length;
  void (*progress) (guint64 bytes, gpointer user_data);
  gpointer user_data;
} Ask;

/** Sends @ask to the host @index and does what the answer wants: credentials for a 401, the next URL for a
 * redirect, another try after a break. Any other answer is returned. Errors: as in registry.h, naming host
 * and reference. Returns: (transfer full). */
HttpReply *host_ask (OciRepository *self, guint index, const Ask *ask, GCancellable *cancellable,
                     GError **error);
/** An error that says what @reply said. @what: "manifest 1.36". Returns: FALSE. */
gboolean host_throw (OciRepository *self, guint index, const char *what, HttpReply *reply,
                     GCancellable *cancellable, GError **error);
/** Whether the next host may know better. */
gboolean host_error_moves_on (const GError *error);
/** Puts host and reference in front of @error. */
void host_prefix (OciRepository *self, guint index, GError **error);
/** Pauses. Errors: CANCELLED. */
gboolean pause_ms (guint milliseconds, GCancellable *cancellable, GError **error);
gboolean url_is_loopback (const char *url);
/** Whether @host may send us from @from to @to. Errors: PERMISSION_DENIED, UNAVAILABLE (no URL). */
gboolean host_allows_url (RegistryHost *host, const char *from, const char *to, GError **error);
/** Whether both URLs have the same scheme, host and port. */
gboolean url_same_origin (const char *a, const char *b);

/* auth.c */

void host_auth_init (HostAuth *self);
void host_auth_clear (HostAuth *self);
/** What to send for @scope. Returns: (transfer full) (nullable): NULL: nothing yet. */
char *host_auth_get (OciRepository *self, guint index, const char *scope);
/** After a 401 to a request that was sent with @sent (nullable): gets something better. Returns: (transfer
 * full): NULL with @error: UNAUTHENTICATED if there is nothing. */
char *host_auth_renew (OciRepository *self, guint index, const char *scope, const char *sent,
                       HttpReply *reply, GCancellable *cancellable, GError **error);

/* token.c */

typedef struct
{
  const char *realm, *service, *scope;
  GantryCredentials *credentials; /* (nullable) */
  gboolean offline;               /* ask for an identity token too */
} TokenRequest;

/** Gets a bearer token from a token service, or from those that are still good. *@ret_identity: (optional)
 * (transfer full) (nullable). Returns: (transfer full). */
char *token_get (RegistryOci *self, HttpTls *tls, const TokenRequest *request, const char *stale,
                 char **ret_identity, GCancellable *cancellable, GError **error);

/* credentials.c */

/** Looks through the operator's sources for credentials for @repository at @host. *@ret_credentials:
 * (transfer full) (nullable). Errors: of a source that has something for it and fails. */
gboolean credentials_find (RegistryOci *self, const char *host, const char *repository,
                           GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error);
/** Keeps @credentials for @server. *@ret_file: (transfer full): where. */
gboolean credentials_store (RegistryOci *self, const char *server, GantryCredentials *credentials,
                            char **ret_file, GError **error);
/** Errors: NOT_FOUND. */
gboolean credentials_forget (RegistryOci *self, const char *server, GError **error);

/* helper.c */

/** Asks the credential helper @name for @server. @file: which named it. *@ret_credentials: (transfer full)
 * (nullable). */
gboolean helper_get (RegistryOci *self, const char *name, const char *server, const char *file,
                     GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error);

/* hosts.c */

/** The hosts of @server in order. Returns: (transfer full) (element-type RegistryHost). */
GPtrArray *hosts_find (RegistryOci *self, const char *server, GantryRegistryAccess *access, GError **error);

/** The place of a foreign layer. Returns: (transfer full). */
RegistryHost *hosts_new_foreign (const char *url, GError **error);

/* repository.c */

gboolean repository_open (GantryRegistry *registry, const char *reference, GantryRegistryAccess *access,
                          GantryRepository **ret_repository, GCancellable *cancellable, GError **error);
OciRepository *repository_new (RegistryOci *registry, GantryReference *reference,
                               GantryRegistryAccess *access, GPtrArray *hosts);
gboolean header_is_valid (const char *name, const char *value);
void repository_unref (GantryRepository *repository);
/** Calls @func for every host with @capabilities until one succeeds. @what: for errors. */
typedef gboolean (*HostFunc) (OciRepository *self, guint index, gpointer data, GCancellable *cancellable,
                              GError **error);
gboolean repository_try (OciRepository *self, guint capabilities, HostFunc func, gpointer data,
                         GCancellable *cancellable, GError **error);
/** The path of a request, escaped. @kind: "manifests". Returns: (transfer full). */
char *repository_path (OciRepository *self, const char *kind, const char *name);

/* manifest.c */
gboolean repository_resolve (GantryRepository *repository, const char *reference,
                             GantryDescriptor **ret_descriptor, GCancellable *cancellable, GError **error);
gboolean repository_fetch_manifest (GantryRepository *repository, const char *reference,
                                    GantryDescriptor **ret_descriptor, GBytes **ret_bytes,
                                    GCancellable *cancellable, GError **error);
/* schema1.c */

/** What a manifest of schema 1 is without its signatures: what its digest is of. *@ret_payload: (transfer
 * full) (nullable): NULL: @bytes are something else. */
gboolean schema1_payload (GBytes *bytes, GBytes **ret_payload, GError **error);
/* blob.c */
gboolean repository_fetch (GantryRepository *repository, GantryDescriptor *blob, const char *const *urls,
                           guint64 offset, guint64 length, GInputStream **ret_stream,
                           GCancellable *cancellable, GError **error);
gboolean repository_has_blob (GantryRepository *repository, const char *digest, guint64 *ret_size,
                              GCancellable *cancellable, GError **error);
/* push.c */
gboolean repository_push_blob (GantryRepository *repository, GantryDescriptor *blob, int fd,
                               const char *const *mount_from, GVariant *options,
                               GantryPushProgressFunc progress, gpointer user_data, GantryPushed *ret_how,
                               GCancellable *cancellable, GError **error);
gboolean repository_push_manifest (GantryRepository *repository, const char *reference,
                                   const char *media_type, GBytes *bytes, GantryDescriptor **ret_descriptor,
                                   GCancellable *cancellable, GError **error);
/* lists.c */
gboolean repository_list_tags (GantryRepository *repository, const char *last, guint limit, char ***ret_tags,
                               GCancellable *cancellable, GError **error);
gboolean repository_list_referrers (GantryRepository *repository, const char *digest,
                                    const char *artifact_type, GPtrArray **ret_descriptors,
                                    GCancellable *cancellable, GError **error);
/** Adds a manifest that has a subject to the index under the referrers' tag. Does nothing for others. */
gboolean referrers_add (OciRepository *self, GantryDescriptor *descriptor, GBytes *bytes,
                        GCancellable *cancellable, GError **error);
/* explain.c */
gboolean registry_explain (GantryRegistry *registry, const char *reference, gboolean for_push,
                           GantryRegistryAccess *access, GVariant **ret_hosts, GCancellable *cancellable,
                           GError **error);
/* login.c */
gboolean registry_login (GantryRegistry *registry, const char *server, GantryRegistryAccess *access,
                         gboolean store, GVariant **ret_details, GCancellable *cancellable, GError **error);
gboolean registry_logout (GantryRegistry *registry, const char *server, GCancellable *cancellable,
                          GError **error);
