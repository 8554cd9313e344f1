/* SPDX-License-Identifier: MIT
 *
 * Introspection
 * -------------
 * What the daemon is and what it is made of. Served by the core itself, under the id "core"; any plugin may
 * need it.
 *
 * A plugin is described by a{sv}:
 *     "type" s (its first interface), "types" as, "id" s, "module" s, "version" s, "license" s, "description"
 * s, "file" s, "manifest" s, "name" s (its manifest's), "masked" b, "abi" u (of the module), "needs-abi" u
 * (the daemon's), "build-id" s, "rank" i, "on-failure" s, "state" s ("pending", "starting", "ok", "skipped",
 * "failed"), "reason" s (of skipped and failed), "status" s (what it reports of itself), "last-error" s (of
 * init (), also when a later try went well), "attempts" u, "init-time-us" t, "interfaces" aa{sv}: "type" s,
 * "size" t (of the vtable; 0: not started) "needs" aa{sv}: "type" s, "id" s, "kind" s ("one", "optional",
 * "many"), "providers" as (names) "config" aa{sv}: "key" s, "value" s, "origin" s ("<file>:<line>", "command
 * line", "default": nobody has set it), "known" b, "default" s (absent if the module does not tell it)
 *     "exports" a{ss}, "capabilities" as: for containerd's Plugins call.
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

#define GANTRY_INTROSPECTION_TYPE "org.gantry.introspection.v1"

typedef struct _GantryIntrospection GantryIntrospection;

typedef struct
{
  size_t size;

  /** The server. Returns: (transfer full): a{sv}: "version" s, "uuid" s (of this root, for ever), "pid" u,
   * "started-at" x (ns), "root" s, "state" s, "abi" u. Blocks: no. Errors: none. Since: 1.0 */
  GVariant *(*get_server) (GantryIntrospection *self);

  /** Every plugin that a manifest declares, in the order of their start. Returns: (transfer full): aa{sv}.
   * Blocks: no. Errors: none. Since: 1.0 */
  GVariant *(*list_plugins) (GantryIntrospection *self);

  /** Why each candidate was taken or refused, in order. Returns: (transfer full): NULL-terminated lines.
   * Blocks: no. Errors: none. Since: 1.0 */
  char **(*get_trace) (GantryIntrospection *self);

  /** The daemon's own effective settings. Returns: (transfer full): aa{sv} as "config" above. Blocks: no.
   * Errors: none. Since: 1.0 */
  GVariant *(*get_config) (GantryIntrospection *self);

  /** Calls @func in the main context whenever the list changes. Returns: an id for unwatch. Blocks: no.
   * Errors: none. Since: 1.0 */
  guint64 (*watch) (GantryIntrospection *self, GFunc func, gpointer user_data);

  /** Ends a watch. Called in the main context, no @func follows. Blocks: no. Errors: none. Since: 1.0 */
  void (*unwatch) (GantryIntrospection *self, guint64 id);
} GantryIntrospectionVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryIntrospection
{
  const GantryIntrospectionVtable *vtable;
};

static inline GVariant *
gantry_introspection_get_server (GantryIntrospection *self)
{
  return self->vtable->get_server (self);
}

static inline GVariant *
gantry_introspection_list_plugins (GantryIntrospection *self)
{
  return self->vtable->list_plugins (self);
}

static inline char **
gantry_introspection_get_trace (GantryIntrospection *self)
{
  return self->vtable->get_trace (self);
}

static inline GVariant *
gantry_introspection_get_config (GantryIntrospection *self)
{
  return self->vtable->get_config (self);
}

static inline guint64
gantry_introspection_watch (GantryIntrospection *self, GFunc func, gpointer user_data)
{
  return self->vtable->watch (self, func, user_data);
}

static inline void
gantry_introspection_unwatch (GantryIntrospection *self, guint64 id)
{
  self->vtable->unwatch (self, id);
}

G_END_DECLS
