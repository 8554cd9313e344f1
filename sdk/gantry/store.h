/* SPDX-License-Identifier: MIT
 *
 * The store
 * ---------
 * Backends (content-local, snapshotter-overlay) know no namespaces; metadata knows no files. The store joins
 * them: it gives *views* of content and of a snapshotter that belong to one namespace and, if one is named,
 * to one lease. A view implements the backend's own interface, so whatever works on a backend works on a
 * view. Services and frontends use views only.
 *
 *     content = gantry_store_open_content (store, "default", "lease-1")
 *     gantry_content_open_ingest (content, …)      "lease-1" holds the blob from its commit on
 *     gantry_content_unref (content)
 *
 * A blob that another namespace already has need not be sent again if its digest is named up front (the
 * "shared" policy), or must be ("isolated"), by configuration. The store also runs garbage collection: after
 * changes that may leave garbage, after a quiet interval, and when asked.
 */
#pragma once

#include <gantry/content.h>
#include <gantry/metadata.h>
#include <gantry/snapshotter.h>

G_BEGIN_DECLS

#define GANTRY_STORE_TYPE "org.gantry.store.v1"

typedef struct _GantryStore GantryStore;

typedef struct
{
  size_t size;

  /** A view of the content of @ns. @lease: (nullable): holds what is committed through it. @content_id:
   * (nullable): a content plugin's id, NULL: the highest rank. *@ret_content: (transfer full): unref it.
   * Blocks: no. Errors: INVALID_ARGUMENT (@ns), UNAVAILABLE. Since: 1.0 */
  gboolean (*open_content) (GantryStore *self, const char *ns, const char *lease, const char *content_id,
                            GantryContent **ret_content, GCancellable *cancellable, GError **error);

  /** A view of a snapshotter for @ns. @snapshotter: (nullable): a plugin id or a containerd alias
   * ("overlayfs"), NULL: the highest rank. *@ret_snapshotter: (transfer full): unref it. *@ret_id: (optional)
   * (transfer full): the plugin's id. Blocks: no. Errors: NOT_FOUND (no such snapshotter; names those there
   * are), INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*open_snapshotter) (GantryStore *self, const char *ns, const char *lease, const char *snapshotter,
                                GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable,
                                GError **error);

  /** Collects garbage now and waits for it; with @dry_run only says what would go. *@ret_garbage: (optional)
   * (transfer full) (element-type GantryGarbage). Blocks: on local metadata and I/O. Errors: of them.
   * Since: 1.0 */
  gboolean (*collect) (GantryStore *self, gboolean dry_run, GPtrArray **ret_garbage,
                       GCancellable *cancellable, GError **error);

  /** Compares metadata with what the backends have. *@ret_problems: (transfer full): one line each. @repair:
   * removes what nothing names. Blocks: long. Errors: of them. Since: 1.0 */
  gboolean (*check) (GantryStore *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                     GError **error);

  /** Has the views @content and @snapshotter (each nullable, of this store) note what is made through them
   * without waiting for the disk: in order, and durable with the next record of anybody that waits for it.
   * Files are synced as ever before they are noted, and what is removed is durable. For whoever makes much
   * and acknowledges only the whole, by such a record. Blocks: no. Errors: none. Since: 1.0 */
  gboolean (*relax) (GantryStore *self, GantryContent *content, GantrySnapshotter *snapshotter,
                     GCancellable *cancellable, GError **error);
} GantryStoreVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryStore
{
  const GantryStoreVtable *vtable;
};

static inline gboolean
gantry_store_open_content (GantryStore *self, const char *ns, const char *lease, const char *content_id,
                           GantryContent **ret_content, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryStoreVtable, open_content, FALSE);
  return self->vtable->open_content (self, ns, lease, content_id, ret_content, cancellable, error);
}

static inline gboolean
gantry_store_open_snapshotter (GantryStore *self, const char *ns, const char *lease, const char *snapshotter,
                               GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable,
                               GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryStoreVtable, open_snapshotter, FALSE);
  return self->vtable->open_snapshotter (self, ns, lease, snapshotter, ret_snapshotter, ret_id, cancellable,
                                         error);
}

static inline gboolean
gantry_store_collect (GantryStore *self, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable,
                      GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryStoreVtable, collect, FALSE);
  return self->vtable->collect (self, dry_run, ret_garbage, cancellable, error);
}

static inline gboolean
gantry_store_check (GantryStore *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                    GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryStoreVtable, check, FALSE);
  return self->vtable->check (self, repair, ret_problems, cancellable, error);
}

static inline gboolean
gantry_store_relax (GantryStore *self, GantryContent *content, GantrySnapshotter *snapshotter,
                    GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryStoreVtable, relax, FALSE);
  return self->vtable->relax (self, content, snapshotter, cancellable, error);
}

G_END_DECLS
