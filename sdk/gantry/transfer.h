/* SPDX-License-Identifier: MIT
 *
 * Transfer
 * --------
 * Moves images: between archives, registries, content and snapshots. Every call runs as a job that the caller
 * made (jobs.h): its progress goes there, and cancelling the job ends it: the caller passes the job's own
 * cancellable. The caller finishes the job.
 *
 *     gantry_jobs_create (jobs, "import", ns, token, uid, &job, …)
 *     gantry_transfer_import (transfer, job, ns, fd, options, &names, …)
 *     gantry_job_finish (job, result, failure)
 *
 * The job's items (jobs.h) are blobs, by digest. Their states: "waiting" (for a place, or for somebody else
 * who is at it), "downloading", "verifying", "unpacking", "done", "exists"; of a push "waiting", "uploading",
 * "mounted", "done", "exists".
 */
#pragma once

#include <gantry/jobs.h>
#include <gantry/metadata.h>
#include <gantry/registry.h>

G_BEGIN_DECLS

#define GANTRY_TRANSFER_TYPE "org.gantry.transfer.v1"

/** Where install puts files if neither the call nor the setting InstallDirectory of the plugin names another
 * directory. */
#define GANTRY_INSTALL_DIRECTORY "/opt/gantry"

typedef struct _GantryTransfer GantryTransfer;

typedef struct
{
  size_t size;

  /** Reads an archive (OCI image layout or `docker save`, as tar, plain or compressed) from @fd, which may be
   * a pipe, and makes its images. @options: (nullable): a{sv}: "name" s (for an archive with one image and no
   * name), "prefix" s (for names by tag only), "platforms" as (default: this machine's; empty: all; what
   * names no platform is kept, too), "all-platforms" b, "unpack" b (default TRUE), "snapshotter" s, "digests"
   * b (also name images "prefix@digest"), "index-name" s (an image of that name is made of the OCI archive's
   * own index, or of one made of what `docker save` wrote; what has no name there then needs none), "labels"
   * a{ss}, "compress" b (layers that `docker save` wrote plain become gzip), "references" a(sbbb) (prefix,
   * whether names of other prefixes will do, whether to name "prefix@digest", and that only what has no other
   * name; instead of "name", "prefix" and "digests": what none of them names gets no name),
   * "reference-labels" a{ss} (what those get instead of "labels"). Manifests without a name that refer to
   * something here are kept as its referrers. *@ret_names: (transfer full): the images made, in order of the
   * archive. Blocks: as long as it takes, also on @fd. After a failure or a crash no image of it is visible.
   * Errors: INVALID_ARGUMENT (archive, option; says where), NOT_FOUND (nothing for the platform),
   * RESOURCE_EXHAUSTED (limits), CANCELLED. Since: 1.0 */
  gboolean (*import) (GantryTransfer *self, GantryJob *job, const char *ns, int fd, GVariant *options,
                      char ***ret_names, GCancellable *cancellable, GError **error);

  /** Writes the images @names as one OCI image layout tar (which `docker load` reads too) to @fd. @options:
   * (nullable): a{sv}: "platforms" as (default: every one that is there), "docker" b (default TRUE:
   * manifest.json too), "referrers" b (also the manifests here that refer to what is written),
   * "non-distributable" b (default TRUE: foreign layers that are here, too). Blocks: as long as it takes,
   * also on @fd. Errors: NOT_FOUND (image, content), INVALID_ARGUMENT, CANCELLED. Since: 1.0 */
  gboolean (*do_export) (GantryTransfer *self, GantryJob *job, const char *ns, const char *const *names,
                         int fd, GVariant *options, GCancellable *cancellable, GError **error);

  /** Makes the layers of the image @name into snapshots. @options: (nullable): a{sv}: "snapshotter" s,
   * "platform" s.
   * *@ret_chain_id: (optional) (transfer full): the name of the topmost. An unpack of the same layers under
   * way is shared. Blocks: as long as it takes. Errors: NOT_FOUND, INVALID_ARGUMENT (a layer), DATA_LOSS (a
   * DiffID differs), CANCELLED. Since: 1.0 */
  gboolean (*unpack) (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                      GVariant *options, char **ret_chain_id, GCancellable *cancellable, GError **error);

  /** What an image is: *@ret_details: (transfer full): a{sv}: "name" s, "target" (ssta{ss}), "platforms" as,
   * "manifest-digest" s, "config-digest" s, "config" s (JSON of the platform's image config), "layers" a(sst)
   * (media type, digest, size), "diff-ids" as, "chain-id" s, "size" t (all blobs), "referrers" a(ssst) (of it
   * and of its index: digest, artifact type, media type, size; what is here), "unpacked" as (snapshotters
   * that have it), "missing" as (blobs not in the store). @platform: (nullable). Blocks: on local I/O.
   * Errors: NOT_FOUND, INVALID_ARGUMENT, DATA_LOSS. Since: 1.0 */
  gboolean (*inspect) (GantryTransfer *self, const char *ns, const char *name, const char *platform,
                       GVariant **ret_details, GCancellable *cancellable, GError **error);

  /** Fetches the image @reference (as people write it) from its registry and makes the image of that whole
   * name. @access: (nullable). @options: (nullable): a{sv}: "name" s (another name for the image),
   * "platforms" as (default: this machine's; empty: all), "all-platforms" b, "all-metadata" b (manifests and
   * configs of every platform, layers of those wanted), "labels" a{ss}, "unpack" b (default TRUE; what is no
   * container image is never unpacked), "snapshotter" s, "referrers" b (also the manifests that refer to
   * those fetched, and what refers to these: signatures, bills of materials; each lives as long as its
   * subject), "referrer-types" as (only those artifact types of them), "convert-schema1" b (default: by
   * configuration; an image of Docker's manifest schema 1 becomes an OCI image, whose digest is another one
   * than that at the registry; else it is refused). Blobs that the namespace has, or may have from another
   * (store.h), are not fetched; one that several want is fetched once. Layers are unpacked while others still
   * come.
   * *@ret_name: (optional) (transfer full): the image's. *@ret_target: (optional) (transfer full). Blocks: as
   * long as it takes. What was fetched before a failure or a crash is kept for a day, so that the next pull
   * of the same reference goes on where this one ended; nothing of it is visible. When it returns everything
   * is durable. Errors: as registry.h; NOT_FOUND (platform), INVALID_ARGUMENT, DATA_LOSS (a digest or size
   * differs), RESOURCE_EXHAUSTED, UNAVAILABLE (no registry client), CANCELLED. Since: 1.0 */
  gboolean (*pull) (GantryTransfer *self, GantryJob *job, const char *ns, const char *reference,
                    GantryRegistryAccess *access, GVariant *options, char **ret_name,
                    GantryDescriptor **ret_target, GCancellable *cancellable, GError **error);

  /** Sends the image @name to the registry as @reference (nullable: its name): what is missing there, the
   * manifest last. @access: (nullable).
   * @options: (nullable): a{sv}: "platforms" as (default: everything that is here; one platform of an index
   * is sent as that manifest, of several an index is made that has only those), "referrers" b (also the
   * manifests here that refer to what is sent). The tag is set last. Blobs that the registry has in another
   * repository, which "containerd.io/distribution.source.<server>" labels tell, are mounted from there.
   * *@ret_target: (optional) (transfer full): what the reference is then. Blocks: as long as it takes.
   * Errors: as registry.h; NOT_FOUND (image, blob, platform), INVALID_ARGUMENT (@reference has the digest of
   * something else), CANCELLED. Since: 1.0 */
  gboolean (*push) (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                    const char *reference, GantryRegistryAccess *access, GVariant *options,
                    GantryDescriptor **ret_target, GCancellable *cancellable, GError **error);

  /** What the image @name takes here: *@ret_usage: (transfer full): a{sv}: "blobs" a(st) (digest, bytes; of
   * every platform that is here), "blob-bytes" t, "snapshots" a(sstt) (snapshotter, name, bytes, inodes;
   * without what containers wrote), "snapshot-bytes" t. Blocks: on local I/O. Errors: NOT_FOUND,
   * INVALID_ARGUMENT, DATA_LOSS. Since: 1.0 */
  gboolean (*usage) (GantryTransfer *self, const char *ns, const char *name, GVariant **ret_usage,
                     GCancellable *cancellable, GError **error);

  /** Makes the image @new_name (which may be @name) out of the image @name, with its labels: Docker schema 2
   * becomes OCI, and layers are compressed anew if that is asked for. DiffIDs and configs stay. @options:
   * (nullable): a{sv}: "compression" s ("zstd", "gzip", "none"; default: as they are), "platforms" as (what
   * is kept of an index; default: everything that is here).
   * *@ret_target: (optional) (transfer full). Foreign layers and artifacts stay as they are. Until it returns
   * nothing of it is visible. Blocks: as long as it takes. Errors: NOT_FOUND (image, blob, platform),
   * INVALID_ARGUMENT, DATA_LOSS (a DiffID differs), NOT_IMPLEMENTED (no differ can), RESOURCE_EXHAUSTED,
   * CANCELLED. Since: 1.0 */
  gboolean (*convert) (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                       const char *new_name, GVariant *options, GantryDescriptor **ret_target,
                       GCancellable *cancellable, GError **error);

  /** Puts what the image @name has in "bin" into a directory of the host. @options: (nullable): a{sv}: "path"
   * s (absolute; default: by configuration; made if it is not there), "lib" b (also what is in "lib"),
   * "replace" b (files that are there), "platform" s.
   * *@ret_result: (transfer full): a{sv}: "path" s, "files" as ("bin/tool"). Files belong to root and have no
   * set-id bits. An image that has anything but files and directories there, or an absolute name, is refused;
   * nothing leaves the directory. Until all layers are unpacked nothing is changed. Blocks: as long as it
   * takes. Errors: NOT_FOUND (image, blob, nothing to install), INVALID_ARGUMENT, ALREADY_EXISTS (a file,
   * without "replace"), FAILED_PRECONDITION (a directory where a file would be), UNAVAILABLE (somebody else
   * installs there), DATA_LOSS, RESOURCE_EXHAUSTED, CANCELLED. Since: 1.0 */
  gboolean (*install) (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                       GVariant *options, GVariant **ret_result, GCancellable *cancellable, GError **error);
} GantryTransferVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryTransfer
{
  const GantryTransferVtable *vtable;
};

static inline gboolean
gantry_transfer_import (GantryTransfer *self, GantryJob *job, const char *ns, int fd, GVariant *options,
                        char ***ret_names, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, import, FALSE);
  return self->vtable->import (self, job, ns, fd, options, ret_names, cancellable, error);
}

static inline gboolean
gantry_transfer_export (GantryTransfer *self, GantryJob *job, const char *ns, const char *const *names,
                        int fd, GVariant *options, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, do_export, FALSE);
  return self->vtable->do_export (self, job, ns, names, fd, options, cancellable, error);
}

static inline gboolean
gantry_transfer_unpack (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                        GVariant *options, char **ret_chain_id, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, unpack, FALSE);
  return self->vtable->unpack (self, job, ns, name, options, ret_chain_id, cancellable, error);
}

static inline gboolean
gantry_transfer_inspect (GantryTransfer *self, const char *ns, const char *name, const char *platform,
                         GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, inspect, FALSE);
  return self->vtable->inspect (self, ns, name, platform, ret_details, cancellable, error);
}

static inline gboolean
gantry_transfer_pull (GantryTransfer *self, GantryJob *job, const char *ns, const char *reference,
                      GantryRegistryAccess *access, GVariant *options, char **ret_name,
                      GantryDescriptor **ret_target, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, pull, FALSE);
  return self->vtable->pull (self, job, ns, reference, access, options, ret_name, ret_target, cancellable,
                             error);
}

static inline gboolean
gantry_transfer_push (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                      const char *reference, GantryRegistryAccess *access, GVariant *options,
                      GantryDescriptor **ret_target, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, push, FALSE);
  return self->vtable->push (self, job, ns, name, reference, access, options, ret_target, cancellable, error);
}

static inline gboolean
gantry_transfer_usage (GantryTransfer *self, const char *ns, const char *name, GVariant **ret_usage,
                       GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, usage, FALSE);
  return self->vtable->usage (self, ns, name, ret_usage, cancellable, error);
}

static inline gboolean
gantry_transfer_convert (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                         const char *new_name, GVariant *options, GantryDescriptor **ret_target,
                         GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, convert, FALSE);
  return self->vtable->convert (self, job, ns, name, new_name, options, ret_target, cancellable, error);
}

static inline gboolean
gantry_transfer_install (GantryTransfer *self, GantryJob *job, const char *ns, const char *name,
                         GVariant *options, GVariant **ret_result, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTransferVtable, install, FALSE);
  return self->vtable->install (self, job, ns, name, options, ret_result, cancellable, error);
}

G_END_DECLS
