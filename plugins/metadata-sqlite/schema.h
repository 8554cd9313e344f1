/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The schema. To change it, append a migration; never edit one that was released.
 *
 *     record       one row an object: kind, ns, id -> labels a{ss}, fields a{sv} (serialised GVariants), times, revision
 *     label        one row a label of a record, so that a filter on a label is a look-up
 *     edge         who holds whom: from (kind, id) to (kind, id) in one ns; owner is the record whose labels or fields say so
 *     lease_item   what a lease holds
 *     event        the outbox: seq only grows (AUTOINCREMENT), trimmed by count
 *     garbage      what backends still have to remove
 *     snapshot     the snapshot index: snapshotter, key -> number, parent, kind, labels, times, usage
 *     number       the last number given to each snapshotter
 */
#pragma once

static const char *const schema_migrations[] = {
  /* 1 */
  "CREATE TABLE record (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, labels BLOB, fields BLOB,"
  " created INTEGER NOT NULL, updated INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, ns, id)) WITHOUT ROWID;"
  "CREATE TABLE label (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
  " PRIMARY KEY (kind, key, value, ns, id)) WITHOUT ROWID;"
  "CREATE INDEX label_owner ON label (kind, ns, id);"
  "CREATE TABLE edge (ns TEXT NOT NULL, from_kind TEXT NOT NULL, from_id TEXT NOT NULL, to_kind TEXT NOT NULL,"
  " to_id TEXT NOT NULL, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,"
  " PRIMARY KEY (ns, from_kind, from_id, to_kind, to_id, owner_kind, owner_id)) WITHOUT ROWID;"
  "CREATE INDEX edge_to ON edge (ns, to_kind, to_id);"
  "CREATE INDEX edge_owner ON edge (ns, owner_kind, owner_id);"
  "CREATE TABLE lease_item (ns TEXT NOT NULL, lease TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,"
  " PRIMARY KEY (ns, lease, kind, id)) WITHOUT ROWID;"
  "CREATE INDEX lease_item_of ON lease_item (ns, kind, id);"
  "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, ns TEXT NOT NULL,"
  " topic TEXT NOT NULL, payload BLOB);"
  "CREATE TABLE garbage (kind TEXT NOT NULL, backend TEXT NOT NULL, snapshotter TEXT NOT NULL, ns TEXT NOT NULL,"
  " id TEXT NOT NULL, bytes INTEGER NOT NULL, position INTEGER NOT NULL,"
  " PRIMARY KEY (kind, snapshotter, backend)) WITHOUT ROWID;"
  "CREATE TABLE snapshot (snapshotter TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,"
  " kind INTEGER NOT NULL, labels BLOB, created INTEGER NOT NULL, updated INTEGER NOT NULL, bytes INTEGER NOT NULL,"
  " inodes INTEGER NOT NULL, PRIMARY KEY (snapshotter, key)) WITHOUT ROWID;"
  "CREATE INDEX snapshot_parent ON snapshot (snapshotter, parent);"
  "CREATE TABLE number (snapshotter TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;",
};

#define SCHEMA_VERSION G_N_ELEMENTS (schema_migrations)
