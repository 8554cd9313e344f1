/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-container-private.h"
#include "gantry-image-private.h"
#include "gantry-job-private.h"
#include "gantry-namespace-private.h"
#include "gantry-object-private.h"

/**
 * GantryNamespace:
 *
 * A namespace: images and containers that know nothing of those in others.
 */
struct _GantryNamespace
{
  GantryObject parent_instance;
  guint page_size;
};

#define DEFAULT_PAGE_SIZE 5000
#define MAX_PAGE_SIZE     20000 /* what the daemon answers at once */

G_DEFINE_FINAL_TYPE (GantryNamespace, gantry_namespace, GANTRY_TYPE_OBJECT)

static void
gantry_namespace_class_init (GantryNamespaceClass *klass)
{
}

static void
gantry_namespace_init (GantryNamespace *self)
{
  self->page_size = DEFAULT_PAGE_SIZE;
}

GantryNamespace *
_gantry_namespace_new (GDBusConnection *connection, const char *path)
{
  return g_object_new (GANTRY_TYPE_NAMESPACE, "connection", connection, "path", path, NULL);
}

/* A list with a duplicate of @fd. */
static GUnixFDList *
one_fd (int fd)
{
  GUnixFDList *fds = g_unix_fd_list_new ();

  g_unix_fd_list_append (fds, fd, NULL);
  return fds;
}

GVariant *
_gantry_list_options (const char *const *filters)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  if (filters != NULL)
    g_variant_dict_insert (&dict, "filters", "^as", filters);
  return g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
}

static GDBusConnection *
connection_of (GantryNamespace *self)
{
  return gantry_object_get_connection (GANTRY_OBJECT (self));
}

static GantryJob *
take_job (GantryNamespace *self, GVariant *value)
{
  return _gantry_job_new_take (connection_of (self), _gantry_take_string (value));
}

static GantryImage *
take_image (GantryNamespace *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_image_new (connection_of (self), path, NULL) : NULL;
}

static GantryContainer *
take_container (GantryNamespace *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_container_new (connection_of (self), path, NULL) : NULL;
}

GPtrArray *
_gantry_namespace_take_list (GantryNamespace *self, GVariant *list, GantryMakeFunc make)
{
  g_autoptr (GVariant) held = list;
  g_autoptr (GPtrArray) objects = g_ptr_array_new_with_free_func (g_object_unref);

  if (held == NULL)
    return NULL;
  for (gsize i = 0; i < g_variant_n_children (held); i++)
    {
      g_autoptr (GVariant) info = g_variant_get_child_value (held, i);
      const char *path = NULL;

      if (g_variant_lookup (info, "path", "&o", &path))
        g_ptr_array_add (objects, make (connection_of (self), path, info));
    }
  return g_steal_pointer (&objects);
}

static GPtrArray *
take_images (GantryNamespace *self, GVariant *list)
{
  return _gantry_namespace_take_list (self, list, (GantryMakeFunc)_gantry_image_new);
}

/* A list of containers that is fetched in pages, so that no answer of the daemon grows with their number. */
typedef struct
{
  char **filters;
  char *after; /* (nullable): the last id of the last page */
  guint page_size;
  GPtrArray *containers;
} Pages;

static Pages *
pages_new (GantryNamespace *self, const char *const *filters)
{
  Pages *pages = g_new0 (Pages, 1);

  pages->filters = g_strdupv ((char **)filters);
  pages->page_size = self->page_size;
  pages->containers = g_ptr_array_new_with_free_func (g_object_unref);
  return pages;
}

static void
pages_free (Pages *pages)
{
  g_strfreev (pages->filters);
  g_free (pages->after);
  g_clear_pointer (&pages->containers, g_ptr_array_unref);
  g_free (pages);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Pages, pages_free)

static GVariant *
next_page (Pages *pages)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  if (pages->filters != NULL)
    g_variant_dict_insert (&dict, "filters", "^as", pages->filters);
  if (pages->after != NULL)
    g_variant_dict_insert (&dict, "after", "s", pages->after);
  g_variant_dict_insert (&dict, "limit", "u", pages->page_size);
  return g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
}

/* Adds @page (transfer full). Returns: whether another may follow. */
static gboolean
add_page (GantryNamespace *self, Pages *pages, GVariant *page)
{
  gsize n = g_variant_n_children (page);
  g_autoptr (GVariant) last = n > 0 ? g_variant_get_child_value (page, n - 1) : NULL;
  g_autoptr (GPtrArray) containers
      = _gantry_namespace_take_list (self, page, (GantryMakeFunc)_gantry_container_new);
  g_autofree char *id = NULL;

  g_ptr_array_extend_and_steal (pages->containers, g_steal_pointer (&containers));
  if (n < pages->page_size || !g_variant_lookup (last, "id", "s", &id))
    return FALSE;
  g_free (pages->after);
  pages->after = g_steal_pointer (&id);
  return TRUE;
}

/**
 * gantry_namespace_import_images:
 * @self: the namespace
 * @fd: an OCI layout or docker archive, perhaps a pipe
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Reads images from an archive. Options: "name" s, "prefix" s, "platforms" as, "all-platforms" b, "unpack" b,
 * "snapshotter" s, "labels" a{ss}, "token" s.
 *
 * Returns: (transfer full): a job; its result has "names" as
 */
GantryJob *
gantry_namespace_import_images (GantryNamespace *self, int fd, GVariant *options, GCancellable *cancellable,
                                GError **error)
{
  g_autoptr (GUnixFDList) fds = one_fd (fd);

  return take_job (self, _gantry_object_call_value (self, "Namespace", "ImportImages",
                                                    g_variant_new ("(h@a{sv})", 0, _gantry_options (options)),
                                                    fds, cancellable, error));
}

/**
 * gantry_namespace_import_images_async:
 * @self: the namespace
 * @fd: an OCI layout or docker archive, perhaps a pipe
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_import_images(), without blocking.
 */
void
gantry_namespace_import_images_async (GantryNamespace *self, int fd, GVariant *options,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data)
{
  g_autoptr (GUnixFDList) fds = one_fd (fd);

  _gantry_object_call_async (self, "Namespace", "ImportImages",
                             g_variant_new ("(h@a{sv})", 0, _gantry_options (options)), fds,
                             gantry_namespace_import_images_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_import_images_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job; its result has "names" as
 */
GantryJob *
gantry_namespace_import_images_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_job (self,
                   _gantry_object_finish_value (self, gantry_namespace_import_images_async, result, error));
}

/**
 * gantry_namespace_export_images:
 * @self: the namespace
 * @names: (array zero-terminated=1): of images
 * @fd: written to, perhaps a pipe
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Writes images as one archive. Options: "platforms" as, "docker" b, "referrers" b, "token" s.
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_namespace_export_images (GantryNamespace *self, const char *const *names, int fd, GVariant *options,
                                GCancellable *cancellable, GError **error)
{
  g_autoptr (GUnixFDList) fds = one_fd (fd);

  return take_job (self, _gantry_object_call_value (self, "Namespace", "ExportImages",
                                                    g_variant_new ("(^ash@a{sv})", names, 0,
                                                                   _gantry_options (options)),
                                                    fds, cancellable, error));
}

/**
 * gantry_namespace_export_images_async:
 * @self: the namespace
 * @names: (array zero-terminated=1): of images
 * @fd: written to, perhaps a pipe
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_export_images(), without blocking.
 */
void
gantry_namespace_export_images_async (GantryNamespace *self, const char *const *names, int fd,
                                      GVariant *options, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GUnixFDList) fds = one_fd (fd);

  _gantry_object_call_async (self, "Namespace", "ExportImages",
                             g_variant_new ("(^ash@a{sv})", names, 0, _gantry_options (options)), fds,
                             gantry_namespace_export_images_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_export_images_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_namespace_export_images_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_job (self,
                   _gantry_object_finish_value (self, gantry_namespace_export_images_async, result, error));
}

/**
 * gantry_namespace_pull_image:
 * @self: the namespace
 * @reference: what to fetch, as people write it
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call, not the job
 * @error: why not
 *
 * Fetches an image from its registry. Options: "name" s, "platforms" as, "all-platforms" b, "all-metadata" b,
 * "labels" a{ss}, "unpack" b, "snapshotter" s, "token" s, and how the registry is reached (PullImage in
 * org.gantry1.xml).
 *
 * Returns: (transfer full): a job; its result has "name" s and "target" (ssta{ss})
 */
GantryJob *
gantry_namespace_pull_image (GantryNamespace *self, const char *reference, GVariant *options,
                             GCancellable *cancellable, GError **error)
{
  return take_job (self, _gantry_object_call_value (self, "Namespace", "PullImage",
                                                    g_variant_new ("(s@a{sv})", reference,
                                                                   _gantry_options (options)),
                                                    NULL, cancellable, error));
}

/**
 * gantry_namespace_pull_image_async:
 * @self: the namespace
 * @reference: what to fetch, as people write it
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call, not the job
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_pull_image(), without blocking.
 */
void
gantry_namespace_pull_image_async (GantryNamespace *self, const char *reference, GVariant *options,
                                   GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "PullImage",
                             g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                             gantry_namespace_pull_image_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_pull_image_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job; its result has "name" s and "target" (ssta{ss})
 */
GantryJob *
gantry_namespace_pull_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_job (self,
                   _gantry_object_finish_value (self, gantry_namespace_pull_image_async, result, error));
}

/**
 * gantry_namespace_push_image:
 * @self: the namespace
 * @name: of the image
 * @reference: (nullable): where to, or %NULL: to where its name says
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call, not the job
 * @error: why not
 *
 * Sends an image to a registry. Options: "platforms" as, "token" s, and how the registry is reached
 * (PullImage in org.gantry1.xml).
 *
 * Returns: (transfer full): a job; its result has "target" (ssta{ss})
 */
GantryJob *
gantry_namespace_push_image (GantryNamespace *self, const char *name, const char *reference,
                             GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_job (self, _gantry_object_call_value (self, "Namespace", "PushImage",
                                                    g_variant_new ("(ss@a{sv})", name,
                                                                   reference != NULL ? reference : "",
                                                                   _gantry_options (options)),
                                                    NULL, cancellable, error));
}

/**
 * gantry_namespace_push_image_async:
 * @self: the namespace
 * @name: of the image
 * @reference: (nullable): where to, or %NULL: to where its name says
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call, not the job
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_push_image(), without blocking.
 */
void
gantry_namespace_push_image_async (GantryNamespace *self, const char *name, const char *reference,
                                   GVariant *options, GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "PushImage",
                             g_variant_new ("(ss@a{sv})", name, reference != NULL ? reference : "",
                                            _gantry_options (options)),
                             NULL, gantry_namespace_push_image_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_push_image_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job; its result has "target" (ssta{ss})
 */
GantryJob *
gantry_namespace_push_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_job (self,
                   _gantry_object_finish_value (self, gantry_namespace_push_image_async, result, error));
}

/**
 * gantry_namespace_list_images:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): containerd's filter language, several are an OR
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which images there are.
 *
 * Returns: (transfer container) (element-type GantryImage): images
 */
GPtrArray *
gantry_namespace_list_images (GantryNamespace *self, const char *const *filters, GCancellable *cancellable,
                              GError **error)
{
  return take_images (self,
                      _gantry_object_call_value (self, "Namespace", "ListImages",
                                                 _gantry_list_options (filters), NULL, cancellable, error));
}

/**
 * gantry_namespace_list_images_async:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): containerd's filter language, several are an OR
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_list_images(), without blocking.
 */
void
gantry_namespace_list_images_async (GantryNamespace *self, const char *const *filters,
                                    GCancellable *cancellable, GAsyncReadyCallback callback,
                                    gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "ListImages", _gantry_list_options (filters), NULL,
                             gantry_namespace_list_images_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_list_images_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer container) (element-type GantryImage): images
 */
GPtrArray *
gantry_namespace_list_images_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_images (self,
                      _gantry_object_finish_value (self, gantry_namespace_list_images_async, result, error));
}

/**
 * gantry_namespace_get_image:
 * @self: the namespace
 * @name: whole or short, as "busybox"
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Completes a name.
 *
 * Returns: (transfer full): the image by that name, whether there is one or not
 */
GantryImage *
gantry_namespace_get_image (GantryNamespace *self, const char *name, GCancellable *cancellable,
                            GError **error)
{
  return take_image (self, _gantry_object_call_value (self, "Namespace", "GetImage",
                                                      g_variant_new ("(s)", name), NULL, cancellable, error));
}

/**
 * gantry_namespace_get_image_async:
 * @self: the namespace
 * @name: whole or short, as "busybox"
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_get_image(), without blocking.
 */
void
gantry_namespace_get_image_async (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "GetImage", g_variant_new ("(s)", name), NULL,
                             gantry_namespace_get_image_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_get_image_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the image by that name, whether there is one or not
 */
GantryImage *
gantry_namespace_get_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_image (self,
                     _gantry_object_finish_value (self, gantry_namespace_get_image_async, result, error));
}

/**
 * gantry_namespace_set_page_size:
 * @self: the namespace
 * @page_size: containers, 1 to 20,000; at first 5,000
 *
 * Sets how many containers a list asks the daemon for at once. Smaller pages take less memory in the daemon
 * and more calls; what a list returns is the same.
 */
void
gantry_namespace_set_page_size (GantryNamespace *self, guint page_size)
{
  g_return_if_fail (GANTRY_IS_NAMESPACE (self));
  self->page_size = CLAMP (page_size, 1, MAX_PAGE_SIZE);
}

/**
 * gantry_namespace_list_containers:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): containerd's filter language, several are an OR
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which containers there are, by id, however many: page by page (gantry_namespace_set_page_size()). One
 * made or removed meanwhile may be in the list or not.
 *
 * Returns: (transfer container) (element-type GantryContainer): containers
 */
GPtrArray *
gantry_namespace_list_containers (GantryNamespace *self, const char *const *filters,
                                  GCancellable *cancellable, GError **error)
{
  g_autoptr (Pages) pages = pages_new (self, filters);
  GVariant *page;

  do
    {
      page = _gantry_object_call_value (self, "Namespace", "ListContainers", next_page (pages), NULL,
                                        cancellable, error);
      if (page == NULL)
        return NULL;
    }
  while (add_page (self, pages, page));
  return g_steal_pointer (&pages->containers);
}

static void list_next_page (GTask *task);

static void
on_page (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GTask) task = data;
  Pages *pages = g_task_get_task_data (task);
  GError *error = NULL;
  GVariant *page = _gantry_object_finish_value (object, on_page, result, &error);

  if (page == NULL)
    g_task_return_error (task, error);
  else if (add_page (GANTRY_NAMESPACE (object), pages, page))
    list_next_page (g_steal_pointer (&task));
  else
    g_task_return_pointer (task, g_steal_pointer (&pages->containers), (GDestroyNotify)g_ptr_array_unref);
}

/* @task: (transfer full) */
static void
list_next_page (GTask *task)
{
  _gantry_object_call_async (g_task_get_source_object (task), "Namespace", "ListContainers",
                             next_page (g_task_get_task_data (task)), NULL, on_page,
                             g_task_get_cancellable (task), on_page, task);
}

/**
 * gantry_namespace_list_containers_async:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): containerd's filter language, several are an OR
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_list_containers(), without blocking.
 */
void
gantry_namespace_list_containers_async (GantryNamespace *self, const char *const *filters,
                                        GCancellable *cancellable, GAsyncReadyCallback callback,
                                        gpointer user_data)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  g_task_set_source_tag (task, gantry_namespace_list_containers_async);
  g_task_set_task_data (task, pages_new (self, filters), (GDestroyNotify)pages_free);
  list_next_page (task);
}

/**
 * gantry_namespace_list_containers_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer container) (element-type GantryContainer): containers
 */
GPtrArray *
gantry_namespace_list_containers_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, gantry_namespace_list_containers_async), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

/**
 * gantry_namespace_get_container:
 * @self: the namespace
 * @id: of a container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Finds a container.
 *
 * Returns: (transfer full): the container of that id, whether there is one or not
 */
GantryContainer *
gantry_namespace_get_container (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                GError **error)
{
  return take_container (self,
                         _gantry_object_call_value (self, "Namespace", "GetContainer",
                                                    g_variant_new ("(s)", id), NULL, cancellable, error));
}

/**
 * gantry_namespace_get_container_async:
 * @self: the namespace
 * @id: of a container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_get_container(), without blocking.
 */
void
gantry_namespace_get_container_async (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "GetContainer", g_variant_new ("(s)", id), NULL,
                             gantry_namespace_get_container_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_get_container_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the container of that id, whether there is one or not
 */
GantryContainer *
gantry_namespace_get_container_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_container (self, _gantry_object_finish_value (self, gantry_namespace_get_container_async,
                                                            result, error));
}

/**
 * gantry_namespace_create_container:
 * @self: the namespace
 * @id: a new id
 * @image: a name, whole or short
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes a container of an image. Options: sdk/gantry/tasks.h.
 *
 * Returns: (transfer full): the container
 */
GantryContainer *
gantry_namespace_create_container (GantryNamespace *self, const char *id, const char *image,
                                   GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_container (self, _gantry_object_call_value (self, "Namespace", "CreateContainer",
                                                          g_variant_new ("(ss@a{sv})", id, image,
                                                                         _gantry_options (options)),
                                                          NULL, cancellable, error));
}

/**
 * gantry_namespace_create_container_async:
 * @self: the namespace
 * @id: a new id
 * @image: a name, whole or short
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_create_container(), without blocking.
 */
void
gantry_namespace_create_container_async (GantryNamespace *self, const char *id, const char *image,
                                         GVariant *options, GCancellable *cancellable,
                                         GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "CreateContainer",
                             g_variant_new ("(ss@a{sv})", id, image, _gantry_options (options)), NULL,
                             gantry_namespace_create_container_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_create_container_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the container
 */
GantryContainer *
gantry_namespace_create_container_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_container (self, _gantry_object_finish_value (self, gantry_namespace_create_container_async,
                                                            result, error));
}

/**
 * gantry_namespace_set_labels:
 * @self: the namespace
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets labels.
 *
 * Returns: whether it was done
 */
gboolean
gantry_namespace_set_labels (GantryNamespace *self, GVariant *labels, GCancellable *cancellable,
                             GError **error)
{
  return _gantry_object_call_nothing (self, "Namespace", "SetLabels", g_variant_new ("(@a{ss})", labels),
                                      NULL, cancellable, error);
}

/**
 * gantry_namespace_set_labels_async:
 * @self: the namespace
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_set_labels(), without blocking.
 */
void
gantry_namespace_set_labels_async (GantryNamespace *self, GVariant *labels, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                             gantry_namespace_set_labels_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_set_labels_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_namespace_set_labels_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_namespace_set_labels_async, result, error);
}
