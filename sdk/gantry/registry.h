/* SPDX-License-Identifier: MIT
 *
 * Registries
 * ----------
 * A registry client reads and writes images, and any other blobs with manifests, at registries that speak
 * HTTP. A *reference* names one thing there: "docker.io/library/busybox:1.36", "[::1]:5000/a/b@sha256:…". Its
 * first part is the *server*, then comes the *repository*, then a tag, a digest, or both (the digest then
 * decides). One server may be reached at several *hosts*: mirrors first, in their order, then the server
 * itself; which, and how, is the operator's configuration.
 *
 *     gantry_registry_complete (registry, "busybox", &names)                     ->
 * "docker.io/library/busybox:latest" gantry_registry_open (registry, names[0], access, &repository) no
 * traffic yet gantry_repository_resolve (repository, NULL, &descriptor)                  what the tag is now
 *     gantry_repository_fetch_manifest (repository, descriptor->digest, &found, &bytes)      whole and
 * verified gantry_repository_fetch (repository, layer, NULL, offset, 0, &stream)      bytes from @offset on
 *     g_input_stream_read (stream, …)                                            into an ingest, which
 * verifies them
 *
 * A repository handle is used by any number of threads at once, also for several fetches of one blob (by
 * ranges). A stream is used by one thread at a time. What it holds in memory does not grow with the blob:
 * when its reader stops, so does the peer.
 *
 * Broken connections, 5xx answers and 429 (Retry-After) are tried again with growing pauses, then the next
 * host is asked, and only then the call fails. A stream goes on by range where it broke, at the same or at
 * the next host, unseen by its reader. Every error names the host, the reference and the reason.
 *
 * Credentials come in with the call (GantryRegistryAccess) or from the operator's files; they are sent to the
 * host that they are for and to its token service, never along a redirect to another host, and appear in no
 * log, no error and no file. Only login () stores, if asked.
 *
 * Sources of the formats: OCI distribution-spec 1.1 (spec.md: pull, push, content discovery, referrers),
 * Docker registry HTTP API v2 (media types, token and basic authentication).
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_REGISTRY_TYPE "org.gantry.registry.v1"

/** The largest manifest that is read or written, in bytes, as registries have it. */
#define GANTRY_MAX_MANIFEST (4 * 1024 * 1024)

typedef enum
{
  GANTRY_CREDENTIALS_NONE = 0, /**< be anonymous: no other source is asked */
  GANTRY_CREDENTIALS_PASSWORD
  = 1, /**< a user and a password or an access token, for basic and for token services */
  GANTRY_CREDENTIALS_IDENTITY_TOKEN
  = 2, /**< an OAuth2 refresh token, given to the token service; the user may be NULL */
  GANTRY_CREDENTIALS_BEARER
  = 3, /**< a token that goes to the registry as it is ("Authorization: Bearer …") */
  GANTRY_CREDENTIALS_HEADER = 4, /**< a whole value of the Authorization header */
} GantryCredentialsKind;

/** Who somebody is to a registry. The secret is overwritten before its memory is freed. */
typedef struct
{
  GANTRY_VALUE;
  GantryCredentialsKind kind;
  char *username; /**< (nullable) */
  char *secret;   /**< (nullable): password, token or header value; never shown */
  char *origin;   /**< (nullable): where it comes from, for people: "the call", "/root/.docker/config.json" */
  gint64 expires_ns; /**< no longer good from then on; 0: not known */
} GantryCredentials;

static inline void
gantry_credentials_clear (gpointer data)
{
  GantryCredentials *self = (GantryCredentials *)data;
  volatile char *letter = self->secret;

  /* Volatile, so that the compiler keeps it; explicit_bzero () is not in C11. */
  while (letter != NULL && *letter != '\0')
    *letter++ = '\0';
  g_free (self->secret);
  g_free (self->username);
  g_free (self->origin);
}

GANTRY_DEFINE_VALUE (GantryCredentials, gantry_credentials)

/** Makes credentials; strings are copied. @username, @secret, @origin: (nullable). Returns: (transfer full).
 */
static inline GantryCredentials *
gantry_credentials_new (GantryCredentialsKind kind, const char *username, const char *secret,
                        const char *origin)
{
  GantryCredentials *self = GANTRY_VALUE_ALLOC (GantryCredentials, gantry_credentials_clear);

  self->kind = kind;
  self->username = g_strdup (username);
  self->secret = g_strdup (secret);
  self->origin = g_strdup (origin);
  return self;
}

/** Asks the caller who it is to @host ("ghcr.io", "localhost:5000"), for @reference. @challenges: (nullable):
 * the values of the WWW-Authenticate headers that were seen. Called on the thread of the call that needs
 * them, with no lock held, at most once a host and open repository; may block. *@ret_credentials: (transfer
 * full) (nullable): NULL: it has none, ask the other sources. Returns: FALSE to fail the call with @error. */
typedef gboolean (*GantryCredentialsFunc) (const char *host, const char *reference,
                                           const char *const *challenges, GantryCredentials **ret_credentials,
                                           gpointer user_data, GCancellable *cancellable, GError **error);

/** How one caller wants to reach a registry. Nothing of it is logged or stored. */
typedef struct
{
  GANTRY_VALUE;
  GantryCredentials *credentials; /**< (nullable): for the server of the reference, before every other source;
                                     never for a mirror */
  GantryCredentialsFunc ask;      /**< (nullable): asked when @credentials is NULL, for mirrors too */
  gpointer ask_data;
  GDestroyNotify ask_destroy; /**< (nullable): for @ask_data, on whichever thread drops the last reference */
  GVariant *options; /**< (nullable): a{sv}: "plain-http" b (HTTP also beyond loopback), "skip-verify" b (TLS
                        certificates), "hosts-dir" s (instead of the configured directories), "headers" a{ss}
                        (sent to every host of the server), "schema1" b (Docker schema 1 manifests are handed
                        out, without the signatures that are in them, instead of refused) */
} GantryRegistryAccess;

static inline void
gantry_registry_access_clear (gpointer data)
{
  GantryRegistryAccess *self = (GantryRegistryAccess *)data;

  gantry_credentials_unref (self->credentials);
  if (self->ask_destroy != NULL)
    self->ask_destroy (self->ask_data);
  g_clear_pointer (&self->options, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantryRegistryAccess, gantry_registry_access)

/** Makes an access. @credentials: (nullable): a reference is taken. @options: (nullable): sunk. Returns:
 * (transfer full). */
static inline GantryRegistryAccess *
gantry_registry_access_new (GantryCredentials *credentials, GVariant *options)
{
  GantryRegistryAccess *self = GANTRY_VALUE_ALLOC (GantryRegistryAccess, gantry_registry_access_clear);

  self->credentials = gantry_credentials_ref (credentials);
  self->options = options != NULL ? g_variant_ref_sink (options) : NULL;
  return self;
}

/** How a blob came to be at a registry. */
typedef enum
{
  GANTRY_PUSHED_EXISTS = 0,   /**< it was there */
  GANTRY_PUSHED_MOUNTED = 1,  /**< taken from another repository of that registry */
  GANTRY_PUSHED_UPLOADED = 2, /**< sent */
} GantryPushed;

/** Told now and then while a blob is sent: bytes of it that the registry has. From a worker thread. May go
 * back after a break. */
typedef void (*GantryPushProgressFunc) (guint64 bytes, gpointer user_data);

typedef struct _GantryRepository GantryRepository;

/** One repository as one caller sees it. MT-safe. */
typedef struct
{
  size_t size;

  /** Takes a reference. Returns: @self. Blocks: no. Errors: none. Since: 1.0 */
  GantryRepository *(*ref) (GantryRepository *self);

  /** Drops a reference. Blocks: no. Errors: none. Since: 1.0 */
  void (*unref) (GantryRepository *self);

  /** What @reference, a tag or a digest, is now. @reference: (nullable): what the repository was opened with.
   * *@ret_descriptor: (transfer full): media type, digest and size. Blocks: on the network. Cost: one HEAD,
   * or a GET where HEAD tells too little. Errors: NOT_FOUND, UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE,
   * INVALID_ARGUMENT (an answer that is no manifest), NOT_IMPLEMENTED (Docker schema 1, unless it was asked
   * for), RESOURCE_EXHAUSTED (429, a limit), DEADLINE_EXCEEDED, CANCELLED. Since: 1.0 */
  gboolean (*resolve) (GantryRepository *self, const char *reference, GantryDescriptor **ret_descriptor,
                       GCancellable *cancellable, GError **error);

  /** Reads the whole manifest or index @reference (nullable, as in resolve). *@ret_descriptor: (optional)
   * (transfer full): of what was read. *@ret_bytes: (transfer full): at most GANTRY_MAX_MANIFEST; if
   * @reference is a digest, verified against it. Blocks: on the network. Errors: as resolve; DATA_LOSS (the
   * digest differs). Since: 1.0 */
  gboolean (*fetch_manifest) (GantryRepository *self, const char *reference,
                              GantryDescriptor **ret_descriptor, GBytes **ret_bytes,
                              GCancellable *cancellable, GError **error);

  /** Opens the blob @blob for reading from @offset, @length bytes or (0) to its end. @urls: (nullable): where
   * else it may be had (foreign layers), tried after the hosts. *@ret_stream: (transfer full): its end comes
   * after exactly what was asked for; reading blocks and may set any of the errors here. It is not verified:
   * whoever stores it does. Closing or dropping it before its end stops the transfer. Blocks: on the network,
   * until an answer has come. Errors: as resolve; OUT_OF_RANGE (@offset past the size); with a @length,
   * NOT_IMPLEMENTED if no host serves ranges (then ask once for all; without one, the bytes before @offset
   * are read and dropped); DATA_LOSS (a host says another size). Since: 1.0 */
  gboolean (*fetch) (GantryRepository *self, GantryDescriptor *blob, const char *const *urls, guint64 offset,
                     guint64 length, GInputStream **ret_stream, GCancellable *cancellable, GError **error);

  /** Whether the blob is there. *@ret_size: (optional). Blocks: on the network. Errors: as resolve.
   * Since: 1.0 */
  gboolean (*has_blob) (GantryRepository *self, const char *digest, guint64 *ret_size,
                        GCancellable *cancellable, GError **error);

  /** Makes @blob be in the repository: does nothing if it is there, else asks for a mount from each of
   * @mount_from (nullable: repositories of the same server, "library/busybox"), else sends it from @fd, which
   * is read with pread () from 0 and stays the caller's.
   * @options: (nullable): a{sv}: "chunk-size" t (bytes a request; 0, the default: all in one). @progress:
   * (nullable). *@ret_how: (optional). Blocks: as long as it takes. Errors: as resolve; DATA_LOSS (the
   * registry computes another digest; @fd has other bytes). Since: 1.0 */
  gboolean (*push_blob) (GantryRepository *self, GantryDescriptor *blob, int fd,
                         const char *const *mount_from, GVariant *options, GantryPushProgressFunc progress,
                         gpointer user_data, GantryPushed *ret_how, GCancellable *cancellable,
                         GError **error);

  /** Puts a manifest or index whose blobs are there. @reference: a tag, or NULL: by its digest only.
   * *@ret_descriptor: (optional) (transfer full). A manifest with a "subject" is also added to the referrers'
   * tag where the registry does not keep referrers itself. Blocks: on the network. Errors: as resolve;
   * INVALID_ARGUMENT (the registry refuses it, saying why), RESOURCE_EXHAUSTED (too large). Since: 1.0 */
  gboolean (*push_manifest) (GantryRepository *self, const char *reference, const char *media_type,
                             GBytes *bytes, GantryDescriptor **ret_descriptor, GCancellable *cancellable,
                             GError **error);

  /** The manifests whose subject is @digest, of @artifact_type (nullable: any), from the referrers API or
   * from the tag "<alg>-<hex>" that stands in for it. *@ret_descriptors: (transfer full) (element-type
   * GantryDescriptor): with artifact_type and annotations; empty if there are none. Blocks: on the network.
   * Errors: as resolve, but for NOT_FOUND. Since: 1.0 */
  gboolean (*list_referrers) (GantryRepository *self, const char *digest, const char *artifact_type,
                              GPtrArray **ret_descriptors, GCancellable *cancellable, GError **error);

  /** Up to @limit (1 to 10000) tags after @last (nullable), in the registry's order. *@ret_tags: (transfer
   * full): as many as @limit: there may be more. Blocks: on the network. Errors: as resolve. Since: 1.0 */
  gboolean (*list_tags) (GantryRepository *self, const char *last, guint limit, char ***ret_tags,
                         GCancellable *cancellable, GError **error);
} GantryRepositoryVtable;

struct _GantryRepository
{
  const GantryRepositoryVtable *vtable;
};

typedef struct _GantryRegistry GantryRegistry;

typedef struct
{
  size_t size;

  /** The whole names that a name as people write it may stand for, best first: a short one is completed by
   * the configured list. *@ret_names: (transfer full): at least one, each with a tag ("latest" if it has
   * neither) or a digest or both. Blocks: no. Errors: INVALID_ARGUMENT (with the reason). Since: 1.0 */
  gboolean (*complete) (GantryRegistry *self, const char *name, char ***ret_names, GCancellable *cancellable,
                        GError **error);

  /** Opens the repository of the whole name @reference. @access: (nullable): a reference is taken.
   * *@ret_repository: (transfer full). Blocks: on local files. Errors: INVALID_ARGUMENT (the name, an option,
   * a file of the configuration; says where). Since: 1.0 */
  gboolean (*open) (GantryRegistry *self, const char *reference, GantryRegistryAccess *access,
                    GantryRepository **ret_repository, GCancellable *cancellable, GError **error);

  /** Says what would be tried for @reference and what each host answers to a HEAD of it. @for_push: as for a
   * push. @access: (nullable).
   * *@ret_hosts: (transfer full): aa{sv}, in order of trying: "reference" s, "host" s, "url" s (the base of
   * requests), "origin" s (which file or rule it comes from), "capabilities" as ("pull", "resolve", "push",
   * "referrers"), "mirror" b, "tls" s ("verified", "not verified", "none"), "ca" as, "proxy" s, "credentials"
   * s (by source, never the secret; "": none), "skipped" s (why it is not asked; else absent), "status" u
   * (HTTP; 0: no answer), "answer" s (for people), "digest" s (if it has it), "milliseconds" u. Blocks: on
   * the network; hosts that do not answer in 10 s are said to be so. Errors: as open; CANCELLED. Since: 1.0
   */
  gboolean (*explain) (GantryRegistry *self, const char *reference, gboolean for_push,
                       GantryRegistryAccess *access, GVariant **ret_hosts, GCancellable *cancellable,
                       GError **error);

  /** Checks @access's credentials at the registry @server ("docker.io", "localhost:5000"). @store: keep them,
   * for everybody who uses this daemon, in a file that only root reads; an identity token is kept instead of
   * the password where the registry gives one.
   * *@ret_details: (optional) (transfer full): a{sv}: "user" s, "stored" b, "kind" s ("password" or
   * "identity-token"), "file" s. Blocks: on the network. Errors: UNAUTHENTICATED (it says no), as resolve.
   * Since: 1.0 */
  gboolean (*login) (GantryRegistry *self, const char *server, GantryRegistryAccess *access, gboolean store,
                     GVariant **ret_details, GCancellable *cancellable, GError **error);

  /** Forgets what login () stored for @server. Blocks: on local files. Errors: NOT_FOUND (nothing is stored).
   * Since: 1.0 */
  gboolean (*logout) (GantryRegistry *self, const char *server, GCancellable *cancellable, GError **error);
} GantryRegistryVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryRegistry
{
  const GantryRegistryVtable *vtable;
};

static inline GantryRepository *
gantry_repository_ref (GantryRepository *self)
{
  return self->vtable->ref (self);
}

static inline void
gantry_repository_unref (GantryRepository *self)
{
  if (self != NULL)
    self->vtable->unref (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryRepository, gantry_repository_unref)

static inline gboolean
gantry_repository_resolve (GantryRepository *self, const char *reference, GantryDescriptor **ret_descriptor,
                           GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, resolve, FALSE);
  return self->vtable->resolve (self, reference, ret_descriptor, cancellable, error);
}

static inline gboolean
gantry_repository_fetch_manifest (GantryRepository *self, const char *reference,
                                  GantryDescriptor **ret_descriptor, GBytes **ret_bytes,
                                  GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, fetch_manifest, FALSE);
  return self->vtable->fetch_manifest (self, reference, ret_descriptor, ret_bytes, cancellable, error);
}

static inline gboolean
gantry_repository_fetch (GantryRepository *self, GantryDescriptor *blob, const char *const *urls,
                         guint64 offset, guint64 length, GInputStream **ret_stream, GCancellable *cancellable,
                         GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, fetch, FALSE);
  return self->vtable->fetch (self, blob, urls, offset, length, ret_stream, cancellable, error);
}

static inline gboolean
gantry_repository_has_blob (GantryRepository *self, const char *digest, guint64 *ret_size,
                            GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, has_blob, FALSE);
  return self->vtable->has_blob (self, digest, ret_size, cancellable, error);
}

static inline gboolean
gantry_repository_push_blob (GantryRepository *self, GantryDescriptor *blob, int fd,
                             const char *const *mount_from, GVariant *options,
                             GantryPushProgressFunc progress, gpointer user_data, GantryPushed *ret_how,
                             GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, push_blob, FALSE);
  return self->vtable->push_blob (self, blob, fd, mount_from, options, progress, user_data, ret_how,
                                  cancellable, error);
}

static inline gboolean
gantry_repository_push_manifest (GantryRepository *self, const char *reference, const char *media_type,
                                 GBytes *bytes, GantryDescriptor **ret_descriptor, GCancellable *cancellable,
                                 GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, push_manifest, FALSE);
  return self->vtable->push_manifest (self, reference, media_type, bytes, ret_descriptor, cancellable, error);
}

static inline gboolean
gantry_repository_list_referrers (GantryRepository *self, const char *digest, const char *artifact_type,
                                  GPtrArray **ret_descriptors, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, list_referrers, FALSE);
  return self->vtable->list_referrers (self, digest, artifact_type, ret_descriptors, cancellable, error);
}

static inline gboolean
gantry_repository_list_tags (GantryRepository *self, const char *last, guint limit, char ***ret_tags,
                             GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRepositoryVtable, list_tags, FALSE);
  return self->vtable->list_tags (self, last, limit, ret_tags, cancellable, error);
}

static inline gboolean
gantry_registry_complete (GantryRegistry *self, const char *name, char ***ret_names,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRegistryVtable, complete, FALSE);
  return self->vtable->complete (self, name, ret_names, cancellable, error);
}

static inline gboolean
gantry_registry_open (GantryRegistry *self, const char *reference, GantryRegistryAccess *access,
                      GantryRepository **ret_repository, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRegistryVtable, open, FALSE);
  return self->vtable->open (self, reference, access, ret_repository, cancellable, error);
}

static inline gboolean
gantry_registry_explain (GantryRegistry *self, const char *reference, gboolean for_push,
                         GantryRegistryAccess *access, GVariant **ret_hosts, GCancellable *cancellable,
                         GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRegistryVtable, explain, FALSE);
  return self->vtable->explain (self, reference, for_push, access, ret_hosts, cancellable, error);
}

static inline gboolean
gantry_registry_login (GantryRegistry *self, const char *server, GantryRegistryAccess *access, gboolean store,
                       GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRegistryVtable, login, FALSE);
  return self->vtable->login (self, server, access, store, ret_details, cancellable, error);
}

static inline gboolean
gantry_registry_logout (GantryRegistry *self, const char *server, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryRegistryVtable, logout, FALSE);
  return self->vtable->logout (self, server, cancellable, error);
}

G_END_DECLS
