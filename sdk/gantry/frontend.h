/* SPDX-License-Identifier: MIT
 *
 * Frontends
 * ---------
 * A frontend is a door: it listens, translates what it hears into calls of services, and owns no state that a
 * restart would lose. The core serves every frontend once all plugins that can start have started, and stops
 * them first.
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

#define GANTRY_FRONTEND_TYPE "org.gantry.frontend.v1"

typedef struct _GantryFrontend GantryFrontend;

typedef struct
{
  size_t size;

  /** Begins to listen. Called in the main context, once. Blocks: no. Errors: ALREADY_EXISTS (somebody else
   * has the address), PERMISSION_DENIED, UNAVAILABLE (not yet: called again later). Since: 1.0 */
  gboolean (*serve) (GantryFrontend *self, GCancellable *cancellable, GError **error);

  /** Accepts nothing new, lets calls under way end for at most @drain_ms milliseconds, then drops them.
   * Called in the main context; iterates nothing: @done (@user_data) is called there when it is over. Blocks:
   * no. Errors: none. Since: 1.0 */
  void (*stop) (GantryFrontend *self, guint drain_ms, GDestroyNotify done, gpointer user_data);

  /** Where it listens, as people write it ("unix:path=/run/gantry/gantry.sock"). Returns: (transfer full):
   * NULL-terminated. Blocks: no. Errors: none. Since: 1.0 */
  char **(*get_addresses) (GantryFrontend *self);
} GantryFrontendVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryFrontend
{
  const GantryFrontendVtable *vtable;
};

static inline gboolean
gantry_frontend_serve (GantryFrontend *self, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryFrontendVtable, serve, FALSE);
  return self->vtable->serve (self, cancellable, error);
}

static inline void
gantry_frontend_stop (GantryFrontend *self, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  if (GANTRY_HAS (self->vtable, GantryFrontendVtable, stop))
    self->vtable->stop (self, drain_ms, done, user_data);
  else
    done (user_data);
}

static inline char **
gantry_frontend_get_addresses (GantryFrontend *self)
{
  return GANTRY_HAS (self->vtable, GantryFrontendVtable, get_addresses) ? self->vtable->get_addresses (self)
                                                                        : g_new0 (char *, 1);
}

G_END_DECLS
