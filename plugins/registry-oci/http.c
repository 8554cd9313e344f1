/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The thread, its context and its sessions: one for each kind of TLS and each of bulk and documents. */
#include "http-private.h"

#include <string.h>

#define MAX_SESSIONS    32
#define MAX_CONNECTIONS 64
#define MAX_PER_HOST    16
#define IDLE_SECONDS    30

static gpointer
run_thread (gpointer data)
{
  Http *self = data;

  g_main_context_push_thread_default (self->context);
  g_main_loop_run (self->loop);
  /* Sessions close their connections where they were made. */
  g_hash_table_remove_all (self->sessions);
  while (g_main_context_iteration (self->context, FALSE))
    ;
  g_main_context_pop_thread_default (self->context);
  return NULL;
}

void
http_start_thread (Http *self)
{
  g_mutex_lock (&self->lock);
  if (self->thread == NULL)
    self->thread = g_thread_new ("registry-http", run_thread, self);
  g_mutex_unlock (&self->lock);
}

/* Environment variables in the spellings that programs take. HTTP_PROXY is left out: in CGI a client can set
 * it. */
static const char *
get_env (const char *lower, const char *upper)
{
  const char *value = g_getenv (lower);

  if ((value == NULL || value[0] == '\0') && upper != NULL)
    value = g_getenv (upper);
  return value != NULL && value[0] != '\0' ? value : NULL;
}

static char *
proxy_url (const char *text)
{
  if (text == NULL)
    return NULL;
  return strstr (text, "://") != NULL ? g_strdup (text) : g_strconcat ("http://", text, NULL);
}

/* "example.com" means itself and everything below it, as in curl. */
static char **
ignored_hosts (const char *no_proxy)
{
  GPtrArray *hosts = g_ptr_array_new ();
  g_auto (GStrv) words = g_strsplit_set (no_proxy != NULL ? no_proxy : "", ", ", -1);

  g_ptr_array_add (hosts, g_strdup ("localhost"));
  g_ptr_array_add (hosts, g_strdup ("127.0.0.0/8"));
  g_ptr_array_add (hosts, g_strdup ("::1"));
  for (gsize i = 0; words[i] != NULL; i++)
    {
      const char *word = words[i][0] == '.' ? words[i] + 1 : words[i];

      if (word[0] == '\0')
        continue;
      g_ptr_array_add (hosts, g_strdup (word));
      if (g_ascii_isalpha (word[0]) && strchr (word, '*') == NULL)
        g_ptr_array_add (hosts, g_strconcat ("*.", word, NULL));
    }
  g_ptr_array_add (hosts, NULL);
  return (char **)g_ptr_array_free (hosts, FALSE);
}

static GProxyResolver *
make_resolver (const HttpSettings *settings)
{
  const char *all = settings->proxy != NULL ? settings->proxy : get_env ("all_proxy", "ALL_PROXY");
  const char *no_proxy = settings->no_proxy != NULL ? settings->no_proxy : get_env ("no_proxy", "NO_PROXY");
  g_auto (GStrv) ignored = ignored_hosts (no_proxy);
  g_autofree char *fallback = proxy_url (all);
  g_autofree char *plain = settings->proxy == NULL ? proxy_url (get_env ("http_proxy", NULL)) : NULL;
  g_autofree char *secure
      = settings->proxy == NULL ? proxy_url (get_env ("https_proxy", "HTTPS_PROXY")) : NULL;
  gboolean everything = no_proxy != NULL && strcmp (no_proxy, "*") == 0;
  GProxyResolver *resolver = g_simple_proxy_resolver_new (everything ? NULL : fallback, ignored);

  if (plain != NULL && !everything)
    g_simple_proxy_resolver_set_uri_proxy (G_SIMPLE_PROXY_RESOLVER (resolver), "http", plain);
  if (secure != NULL && !everything)
    g_simple_proxy_resolver_set_uri_proxy (G_SIMPLE_PROXY_RESOLVER (resolver), "https", secure);
  return resolver;
}

char *
http_get_proxy (Http *self, const char *url)
{
  g_auto (GStrv) proxies = g_proxy_resolver_lookup (self->resolver, url, NULL, NULL);
  g_autoptr (GUri) uri = NULL;

  if (proxies == NULL || proxies[0] == NULL || strcmp (proxies[0], "direct://") == 0)
    return NULL;
  /* Without what it may know of a user. */
  uri = g_uri_parse (proxies[0], SOUP_HTTP_URI_FLAGS, NULL);
  return uri != NULL ? g_uri_to_string_partial (uri, G_URI_HIDE_USERINFO) : g_strdup ("not a URL");
}

static SoupSession *
make_session (Http *self)
{
  SoupSession *session
      = soup_session_new_with_options ("max-conns", MAX_CONNECTIONS, "max-conns-per-host", MAX_PER_HOST,
                                       "timeout", 0, "idle-timeout", IDLE_SECONDS, "proxy-resolver",
                                       self->resolver, "user-agent", "gantry/" GANTRY_VERSION, NULL);

  /* Blobs are kept as they are: nothing is decoded on the way. */
  soup_session_remove_feature_by_type (session, SOUP_TYPE_CONTENT_DECODER);
  return session;
}

SoupSession *
http_get_session (Http *self, HttpTls *tls, gboolean bulk)
{
  g_autofree char *key = g_strconcat (bulk ? "bulk " : "document ", tls->key, NULL);
  SoupSession *session = g_hash_table_lookup (self->sessions, key);

  if (session == NULL)
    {
      /* Exchanges under way keep theirs. */
      if (g_hash_table_size (self->sessions) >= MAX_SESSIONS)
        g_hash_table_remove_all (self->sessions);
      session = make_session (self);
      g_hash_table_insert (self->sessions, g_steal_pointer (&key), session);
    }
  return session;
}

Http *
http_new (const HttpSettings *settings)
{
  Http *self = g_new0 (Http, 1);

  self->settings = *settings;
  g_mutex_init (&self->lock);
  self->context = g_main_context_new ();
  self->loop = g_main_loop_new (self->context, FALSE);
  self->sessions = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_object_unref);
  self->resolver = make_resolver (settings);
  return self;
}

static gboolean
quit_loop (gpointer data)
{
  g_main_loop_quit (data);
  return G_SOURCE_REMOVE;
}

void
http_free (Http *self)
{
  if (self == NULL)
    return;
  if (self->thread != NULL)
    {
      /* By a source: a quit before the loop runs would be lost. */
      g_autoptr (GSource) source = g_idle_source_new ();

      g_source_set_callback (source, quit_loop, self->loop, NULL);
      g_source_attach (source, self->context);
      g_thread_join (self->thread);
    }
  g_hash_table_unref (self->sessions);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  g_object_unref (self->resolver);
  g_mutex_clear (&self->lock);
  g_free (self);
}
