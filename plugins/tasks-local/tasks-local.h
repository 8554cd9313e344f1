/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/store.h>
#include <gantry/tasks.h>
#include <gantry/transfer.h>

typedef struct {
  GantryTasks tasks;
  const GantryHost *host;
  GantryMetadata *metadata;
  GantryStore *store;
  GantryEvents *events;
  GantryTransfer *transfer;
  GPtrArray *runtimes; /* of GantryBinding: those that are watched */

  GMutex lock;
  GPtrArray *waiters;
  GArray *watches;
  guint64 last_id;
} TasksLocal;

TasksLocal *tasks_local_new (const GantryHost *host, GError **error);
void tasks_local_free (TasksLocal *self);
