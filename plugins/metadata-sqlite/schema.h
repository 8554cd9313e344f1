/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The schema, version 3. To change it, append a migration; never edit one that was released, and add a
 * fixture of the version before to tests/unit/metadata-sqlite.
 *
 *     record ──────────────┐ kind, ns, id       one row an object: labels a{ss}, fields a{sv} (serialised
 * GVariants), times, revision; │                  │                    behind an index, since a tree with
 * whole records in its inner pages is deep │ 1:n              │ ├── label          │ kind, ns, id, key  one
 * row a label, so that a filter on a label is a look-up ├── expiry         │ kind, ns, id       when the
 * label containerd.io/gc.expire ends (µs since 1970); due: this was seen ├── edge ──────────┘ ns, from → to
 * who holds whom; owner: the record whose labels or fields say so └── lease_item       ns, lease → kind, id
 * what a lease holds
 *
 *     candidate              ns, kind, id       what may have lost its last holder: garbage collection looks
 * at these and no others garbage                kind, snapshotter, backend   what backends still have to
 * remove, in order of position
 *
 *     event                  seq                the outbox: seq only grows (AUTOINCREMENT), trimmed by count
 *
 *     snapshot ──┐           snapshotter, key   the snapshot index: number, parent, kind, labels, times,
 * usage └─ parent┘ number                 snapshotter        the last number given to each snapshotter
 */
#pragma once

static const char *const schema_migrations[] = {
  /* 1 */
  "CREATE TABLE record (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, labels BLOB, fields BLOB,"
  " created INTEGER NOT NULL, updated INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, ns, "
  "id)) WITHOUT ROWID;"
  "CREATE TABLE label (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, value TEXT "
  "NOT NULL,"
  " PRIMARY KEY (kind, key, value, ns, id)) WITHOUT ROWID;"
  "CREATE INDEX label_owner ON label (kind, ns, id);"
  "CREATE TABLE edge (ns TEXT NOT NULL, from_kind TEXT NOT NULL, from_id TEXT NOT NULL, to_kind TEXT NOT "
  "NULL,"
  " to_id TEXT NOT NULL, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,"
  " PRIMARY KEY (ns, from_kind, from_id, to_kind, to_id, owner_kind, owner_id)) WITHOUT ROWID;"
  "CREATE INDEX edge_to ON edge (ns, to_kind, to_id);"
  "CREATE INDEX edge_owner ON edge (ns, owner_kind, owner_id);"
  "CREATE TABLE lease_item (ns TEXT NOT NULL, lease TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,"
  " PRIMARY KEY (ns, lease, kind, id)) WITHOUT ROWID;"
  "CREATE INDEX lease_item_of ON lease_item (ns, kind, id);"
  "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, ns TEXT NOT NULL,"
  " topic TEXT NOT NULL, payload BLOB);"
  "CREATE TABLE garbage (kind TEXT NOT NULL, backend TEXT NOT NULL, snapshotter TEXT NOT NULL, ns TEXT NOT "
  "NULL,"
  " id TEXT NOT NULL, bytes INTEGER NOT NULL, position INTEGER NOT NULL,"
  " PRIMARY KEY (kind, snapshotter, backend)) WITHOUT ROWID;"
  "CREATE TABLE snapshot (snapshotter TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,"
  " kind INTEGER NOT NULL, labels BLOB, created INTEGER NOT NULL, updated INTEGER NOT NULL, bytes INTEGER "
  "NOT NULL,"
  " inodes INTEGER NOT NULL, PRIMARY KEY (snapshotter, key)) WITHOUT ROWID;"
  "CREATE INDEX snapshot_parent ON snapshot (snapshotter, parent);"
  "CREATE TABLE number (snapshotter TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;",
  /* 2: collections that look only at what changed. Everything that was there before is looked at once. */
  "CREATE TABLE candidate (ns TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (ns, kind, "
  "id)) WITHOUT ROWID;"
  "CREATE TABLE expiry (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, time INTEGER NOT NULL,"
  " due INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, ns, id)) WITHOUT ROWID;"
  "CREATE INDEX expiry_time ON expiry (time) WHERE due=0;"
  "CREATE INDEX record_id ON record (kind, id);"
  "INSERT INTO candidate (ns, kind, id) SELECT ns, kind, id FROM record WHERE kind IN ('content', "
  "'snapshot');"
  "INSERT INTO expiry (kind, ns, id, time) SELECT kind, ns, id, CAST (strftime ('%s', value) AS INTEGER) * "
  "1000000 FROM label"
  " WHERE key='containerd.io/gc.expire' AND strftime ('%s', value) IS NOT NULL;",
  /* 3: records in the order of their making, found by an index. */
  "CREATE TABLE record_3 (kind TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL,"
  " updated INTEGER NOT NULL, revision INTEGER NOT NULL, labels BLOB, fields BLOB, UNIQUE (kind, ns, id));"
  "INSERT INTO record_3 SELECT kind, ns, id, created, updated, revision, labels, fields FROM record;"
  "DROP TABLE record;"
  "ALTER TABLE record_3 RENAME TO record;"
  "CREATE INDEX record_content ON record (kind, id) WHERE kind='content';",
};

#define SCHEMA_VERSION G_N_ELEMENTS (schema_migrations)
