/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Objects, calls and signals of org.gantry1. A call is authorized in the main context, then runs on a worker
 * thread. */
#pragma once

#include <gantry/frontend.h>
#include <gantry/introspection.h>
#include <gantry/jobs.h>
#include <gantry/mounts.h>
#include <gantry/store.h>
#include <gantry/tasks.h>
#include <gantry/transfer.h>

#define ROOT "/org/gantry1"

typedef struct
{
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
  guint64 job_watch;
  guint64 plugin_watch;
  GPtrArray *job_waits;   /* of JobWait; main context */
  GCancellable *stopping; /* cancelled with it are the jobs that were begun here */
} ApiDbus;

/** One method call. */
typedef struct
{
  ApiDbus *self;
  GDBusMethodInvocation *invocation;
  const char *interface;
  const char *method;
  GVariant
      *parameters; /* of a process: as the task's method of that name takes them, with the exec's id first */
  char *ns;        /* (nullable): of the object */
  char *id;        /* (nullable): of a container, image, job or plugin */
  char *exec;      /* (nullable): of a process */
  guint32 uid;
  gboolean deferred; /* the answer comes later */
} Call;

typedef gboolean (*CallFunc) (Call *call, GVariant **ret_reply, GError **error);

typedef struct
{
  const char *name;
  CallFunc func;
} Method;

/* objects.c */

/** Notes that @connection has made a call and has been, or will be, answered first. Signals go only to such
 * connections: a client that takes the socket for a bus (sd-bus) gives up when anything comes before the
 * answer to its Hello. Main context. */
void connection_has_called (GDBusConnection *connection);
gboolean connection_wants_signals (GDBusConnection *connection);
gboolean objects_export (ApiDbus *self, GDBusConnection *connection, GError **error);
/** Runs @call on a worker thread (transfer full). */
void call_submit (Call *call);
void call_free (gpointer data);
CallFunc find_in (const Method *methods, gsize n, const char *name);
/** The descriptors of the call in the order of @handles (ah). Returns: (transfer full). */
GUnixFDList *call_fds (Call *call, GVariant *handles, GError **error);
/** The descriptor @handle of the call. Returns: (transfer full), or -1. */
int call_fd (Call *call, gint32 handle, GError **error);

/* paths.c */
char *path_namespace (const char *ns);
char *path_container (const char *ns, const char *id);
char *path_image (const char *ns, const char *name);
char *path_job (guint64 id, guint32 uid, const char *token);
char *path_of_job (GantryJob *job);
char *path_mount (const char *ns, const char *name);
char *path_sandbox (const char *ns, const char *id);
char *path_plugin (const char *name);
char *path_process (const char *ns, const char *id, const char *exec);
/** What @path names: its collection ("namespace", …; "" for the root), and ns, id and exec for it. Returns:
 * FALSE for a path that is none. */
gboolean path_parse (const char *path, const char **ret_collection, char **ret_ns, char **ret_id,
                     char **ret_exec);

/* authorize.c */

/** Lets @call (transfer full) go on to call_submit (), or answers it. */
void authorize (Call *call);

/* properties.c */

/** "created", "running", … */
const char *status_name (GantryTaskStatus status);

/* properties.c: values of properties by D-Bus names. Returns: (transfer floating): a{sv}. */
GVariant *properties_of_namespace (GantryRecord *record);
GVariant *properties_of_image (GantryRecord *record);
GVariant *properties_of_container (GantryRecord *record);
/** What changes of a process that ends, by the event of it. Returns: (transfer floating): a{sv}. */
GVariant *properties_of_exit (GVariant *payload);
GVariant *properties_of_task (ApiDbus *self, GantryProcess *process);
/** @sandbox: its task holds one. */
GVariant *properties_of_process (GantryProcess *process, gboolean sandbox);
/** @properties: some of @whole, which is as of gantry_job_get_properties (). */
GVariant *properties_of_job (GVariant *properties, GVariant *whole);
GVariant *properties_of_plugin (GVariant *plugin);
GVariant *properties_of_sandbox (GantryRecord *record);
/** @record: with fields "active" and "system" aa{sv} (mounts.h). */
GVariant *properties_of_mount (GantryRecord *record);
/** org.freedesktop.DBus.Properties: Get and GetAll of the call's object. */
CallFunc properties_find (const char *method);
gboolean get_managed_objects (Call *call, GVariant **ret_reply, GError **error);

/* signals.c */
gboolean signals_start (ApiDbus *self, GError **error);
void signals_stop (ApiDbus *self);

/* job.c */

/** Makes a job for @operation, with the "token" that is taken out of @options. *@ret_path: (transfer full).
 */
gboolean job_begin (Call *call, const char *operation, GVariantDict *options, GantryJob **ret_job,
                    char **ret_path, GError **error);
/** Main context: answers those who wait for @job. */
void job_answer_waits (ApiDbus *self, GantryJob *job);
/** Main context: answers all who still wait, since the daemon stops. */
void job_end_waits (ApiDbus *self);
CallFunc job_find (const char *method);
GantryJob *job_lookup (ApiDbus *self, const char *node, GError **error);

/* transfers.c: work that becomes a job */
gboolean import_images (Call *call, GVariant **ret_reply, GError **error);
gboolean export_images (Call *call, GVariant **ret_reply, GError **error);
gboolean unpack_image (Call *call, GVariant **ret_reply, GError **error);
gboolean pull_image (Call *call, GVariant **ret_reply, GError **error);
gboolean install_image (Call *call, GVariant **ret_reply, GError **error);
gboolean convert_image (Call *call, GVariant **ret_reply, GError **error);
gboolean push_image (Call *call, GVariant **ret_reply, GError **error);

/* content.c */
gboolean list_content (Call *call, GVariant **ret_reply, GError **error);
gboolean inspect_content (Call *call, GVariant **ret_reply, GError **error);
gboolean open_blob (Call *call, GVariant **ret_reply, GError **error);
gboolean remove_content (Call *call, GVariant **ret_reply, GError **error);

/* mount.c */
gboolean activate_mounts (Call *call, GVariant **ret_reply, GError **error);
gboolean list_mounts (Call *call, GVariant **ret_reply, GError **error);
gboolean get_mount (Call *call, GVariant **ret_reply, GError **error);
/** The call's activation as properties_of_mount () takes it. Returns: (transfer full). */
GantryRecord *mount_to_record (Call *call, GError **error);
/** Calls @func for every activation of every namespace, until it returns FALSE. Without a mounts service
 * there are none. */
gboolean mounts_walk (ApiDbus *self, GantryRecordFunc func, gpointer user_data, GError **error);

/* sandbox.c */
gboolean create_sandbox (Call *call, GVariant **ret_reply, GError **error);
gboolean get_sandbox (Call *call, GVariant **ret_reply, GError **error);

/* registry-access.c */

/** What @options say of how a registry is reached; the others are left in *@ret_rest (transfer full).
 * *@ret_access: (transfer full) (nullable): NULL: nothing is said. Errors: INVALID_ARGUMENT. */
gboolean registry_access_take (GVariant *options, GantryRegistryAccess **ret_access, GVariant **ret_rest,
                               GError **error);

/* registry.c */
gboolean registry_explain (Call *call, GVariant **ret_reply, GError **error);
gboolean registry_login (Call *call, GVariant **ret_reply, GError **error);
gboolean registry_logout (Call *call, GVariant **ret_reply, GError **error);
gboolean registry_search_tags (Call *call, GVariant **ret_reply, GError **error);
gboolean registry_list_referrers (Call *call, GVariant **ret_reply, GError **error);

/* verify.c */
gboolean verify_image (Call *call, GVariant **ret_reply, GError **error);
gboolean sign_image (Call *call, GVariant **ret_reply, GError **error);

/* task.c */

/** Answers @call when the process @exec of the task of its id has ended, with exit status and time. Holds no
 * thread. */
gboolean answer_at_exit (Call *call, const char *exec, GError **error);
/** Takes "stdin", "stdout", "stderr" and "terminal" out of @options. Returns: (transfer full). */
GantryStdio *take_stdio (Call *call, GVariantDict *options, GVariant *handles, GError **error);

/* records.c: what namespaces, images and containers share */

/** Sets the labels of the parameters (a{ss}); empty values remove. */
gboolean set_labels (Call *call, const char *kind, const char *ns, const char *id, GError **error);
/** The labels of the parameters (a{ss}) without those that are empty, and what of the old ones they stand
 * for.
 * *@ret_labels: (transfer floating). *@ret_mask: (transfer full). */
void take_labels (Call *call, GVariant **ret_labels, char ***ret_mask);
/** Takes @key out of @options if it is of @type. Returns: (transfer full) (nullable). */
GVariant *take_option (GVariantDict *options, const char *key, const char *type);
/** The mounts that @list (aa{sv}: "type" s, "source" s, "target" s, "options" as) describes. Errors:
 * INVALID_ARGUMENT. Returns: (transfer full) (element-type GantryMount). */
GPtrArray *take_mounts (GVariant *list, GError **error);
/** Whether nothing is left of the options of @method. Errors: INVALID_ARGUMENT, naming what is. */
gboolean options_are_empty (GVariantDict *options, const char *method, GError **error);
/** The name of the image that @name means: itself, or the whole name of a short one. Returns: (transfer
 * full). */
char *find_image_name (Call *call, const char *name, GError **error);
/** The record of the call's image. */
GantryRecord *get_image_record (Call *call, GError **error);

/* manager.c, namespace.c, image.c, container.c, task.c, plugin.c, mount.c, sandbox.c: the method by name, or
 * NULL */
CallFunc manager_find (const char *method);
CallFunc namespace_find (const char *method);
CallFunc image_find (const char *method);
CallFunc container_find (const char *method);
CallFunc task_find (const char *method);
CallFunc process_find (const char *method);
CallFunc plugin_find (const char *method);
CallFunc mount_find (const char *method);
CallFunc sandbox_find (const char *method);
