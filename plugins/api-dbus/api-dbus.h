/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/frontend.h>
#include <gantry/introspection.h>
#include <gantry/jobs.h>
#include <gantry/store.h>
#include <gantry/tasks.h>
#include <gantry/transfer.h>

typedef struct {
  GantryFrontend frontend;
  const GantryHost *host;
  GantryIntrospection *introspection;
  GantryMetadata *metadata;
  GantryEvents *events;
  GantryStore *store;
  GantryTransfer *transfer;
  GantryTasks *tasks;
  GantryJobs *jobs;
  GDBusNodeInfo *info;
  GDBusServer *server;
  char *address;
  GPtrArray *connections; /* of GDBusConnection; main context */
  GDBusConnection *bus;   /* (nullable) */
  guint bus_name;
  guint64 subscription;
} ApiDbus;

/** One method call, on a worker thread. */
typedef struct {
  ApiDbus *self;
  GDBusMethodInvocation *invocation;
  const char *method;
  GVariant *parameters;
  char *ns; /* (nullable): of the object */
  char *id; /* (nullable): of a container */
  guint32 uid;
  gboolean deferred; /* the answer comes later */
} Call;

typedef gboolean (*CallFunc) (Call *call, GVariant **ret_reply, GError **error);

/* objects.c */

/** Notes that @connection has made a call and has been, or will be, answered first. Signals go only to such connections: a client that
 * takes the socket for a bus (sd-bus) gives up when anything comes before the answer to its Hello. Main context. */
void connection_has_called (GDBusConnection *connection);
gboolean connection_wants_signals (GDBusConnection *connection);
gboolean objects_export (ApiDbus *self, GDBusConnection *connection, GError **error);
char *object_path_namespace (const char *ns);
char *object_path_container (const char *ns, const char *id);
/** The descriptors of the call in the order of @handles (ah). Returns: (transfer full). */
GUnixFDList *call_fds (Call *call, GVariant *handles, GError **error);

/* manager.c, namespace.c, container.c: the method by name, or NULL */
CallFunc manager_find (const char *method);
CallFunc namespace_find (const char *method);
CallFunc container_find (const char *method);
