/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim.h"

#include <sys/epoll.h>

#define BATCH 16

static int epoll_fd = -1;
/* Events of the running batch, so that a watch that goes away meanwhile is not called. */
static struct epoll_event batch[BATCH];
static int n_batch;

bool
loop_init (void)
{
  epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  return epoll_fd >= 0;
}

bool
watch_add (Watch *watch, uint32_t events)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  return epoll_ctl (epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0;
}

void
watch_change (Watch *watch, uint32_t events)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  epoll_ctl (epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void
watch_remove (Watch *watch)
{
  epoll_ctl (epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
  for (int i = 0; i < n_batch; i++)
    if (batch[i].data.ptr == watch)
      batch[i].data.ptr = NULL;
}

void
loop_run_once (int timeout_ms)
{
  n_batch = epoll_wait (epoll_fd, batch, BATCH, timeout_ms);
  for (int i = 0; i < n_batch; i++)
    {
      Watch *watch = batch[i].data.ptr;

      if (watch != NULL)
        watch->func (watch, batch[i].events);
    }
  n_batch = 0;
}
